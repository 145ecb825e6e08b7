"""What the page must know of a run: what events are worth, what items are, how much is explored."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfrec_llm import config as configs
from tfrec_llm import data
from tfrec_llm.config import ConfigError
from tfrec_llm.data.texts import language_of
from tfrec_llm.serving.versions import ADDED

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageFacts:
    """Read once, when the server is composed."""

    domain: str = ""
    rewards: Mapping[str, float] = field(default_factory=dict)  # event type -> reward in [0, 1]
    user_attributes: tuple[str, ...] = ()  # of a user, in the order of the signature; none where they are off
    item_attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # item id -> its values
    language: str = "en"  # of most titles
    exploration_floor: float | None = None  # None where the run's config is gone


def read_page_facts(run: Path) -> PageFacts:
    """The facts of a run.

    Args:
      run: a finished run folder.

    Raises:
      ValueError: data that `prepare` did not write.
    """
    told = data.read_shown(run / "data", run / ADDED)
    languages = [language_of(title) for title in told.titles if title]
    return PageFacts(
        told.domain,
        told.rewards,
        told.user_attributes,
        told.item_attributes,
        max(sorted(set(languages)), key=languages.count, default="en"),
        _floor(run),
    )


def _floor(run: Path) -> float | None:
    try:
        return configs.load(run / "config.toml").ranking.exploration_floor
    except (ConfigError, OSError) as error:
        log.warning("the page does not say how much is explored: %s", error)
        return None
