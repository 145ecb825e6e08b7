"""Which version is served, and how a TensorFlow Serving is told: `models.config`, in two steps. Imports no TensorFlow.

A server core that reads another `models.config` looks at its labels first. A label that it has may only move to a
version that it has loaded: else it refuses the whole file, and never loads what the file lists. So a new version is
listed while the labels stay, and they move in a later file. Labels go back at once: the version before stays listed.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

BASE_PATH = "/models/recommender"  # where deploy/ mounts the export folder
LOAD_SECONDS = 60.0  # after which what is listed counts as loaded; deploy/ has the file read every 5 s


@dataclass(frozen=True)
class Labels:
    """Which version is served, and what was before it."""

    stable: int = 0  # 0 = none
    canary: int = 0  # the newest that was tried; equal to `stable` where it was taken
    before: tuple[int, ...] = ()  # versions that were stable, the latest last
    since: float = 0.0  # seconds, when `stable` was taken
    refused: Mapping[str, str] = field(default_factory=dict)  # version -> why it is never served again
    told: int = 0  # what is stable in models.config, 0 = there is none yet
    listed: Mapping[str, float] = field(default_factory=dict)  # version -> seconds, since when models.config has it
    judged: int = 0  # the latest version whose live reward is known well; 0 = none

    @property
    def unjudged(self) -> tuple[int, ...]:
        """Versions that were stable since the latest that is known well, that one first; the stable one last."""
        chain = (*self.before, self.stable)
        return chain[chain.index(self.judged) :] if self.judged in chain else chain

    def is_loaded(self, version: int, now: float) -> bool:
        """Whether a TensorFlow Serving has had the time to load a version."""
        return now - self.listed.get(str(version), now) >= LOAD_SECONDS


def announced(labels: Labels, there: Collection[int], now: float | None = None) -> tuple[Labels, str]:
    """What `models.config` should say now.

    Args:
      labels: as they are.
      there: versions that have a folder.
      now: in seconds; None = the clock's.

    Returns:
      The labels, with what was told and listed by it; and the text that `tensorflow_model_server --model_config_file`
      reads, a protocol buffer.
    """
    now = time.time() if now is None else now
    chain = [v for v in (labels.stable, *reversed(labels.before)) if v in there and str(v) not in labels.refused]
    loaded = [version for version in chain if labels.is_loaded(version, now)]
    stable = loaded[0] if loaded else labels.told if labels.told in there else labels.stable
    awaited = chain[: chain.index(stable)] if stable in chain else chain[:1]
    tried = labels.canary if labels.canary in there else 0
    canary = tried if labels.is_loaded(tried, now) else stable
    wanted = {stable, canary, tried, *awaited, *chain[:2]} - {0}  # a rollback goes to the second
    listed = {str(version): labels.listed.get(str(version), now) for version in sorted(wanted)}
    return replace(labels, told=stable, listed=listed), _text(sorted(wanted), {"stable": stable, "canary": canary})


def seconds_left(labels: Labels, there: Collection[int]) -> float:
    """How long until `models.config` can say all that the labels say; 0 = it does."""
    now = time.time()
    told, text = announced(labels, there, now)
    if text == _text([int(version) for version in told.listed], {"stable": labels.stable, "canary": labels.canary}):
        return 0.0
    left = [told.listed[str(v)] + LOAD_SECONDS - now for v in (labels.stable, labels.canary) if str(v) in told.listed]
    return max([0.0, *left])  # of a version whose folder is gone nothing is waited for


def _text(listed: Collection[int], named: Mapping[str, int]) -> str:
    wanted = "".join(f"        versions: {version}\n" for version in listed)
    lines = "".join(f'    version_labels {{ key: "{name}" value: {version} }}\n' for name, version in named.items())
    return (
        "model_config_list {\n  config {\n"
        f'    name: "recommender"\n    base_path: "{BASE_PATH}"\n    model_platform: "tensorflow"\n'
        f"    model_version_policy {{\n      specific {{\n{wanted}      }}\n    }}\n{lines}  }}\n}}\n"
    )
