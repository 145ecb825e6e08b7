"""Cells of a suite that are no run of the stages. A study is one line here: its config, its check, its report."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipelines import checks, fusion_study, simulate, tutorial
from pipelines.off_policy import coverage, open_bandit, planted
from tfrec_llm.config import Config
from tfrec_llm.evaluation import policies


class Study(NamedTuple):
    """One kind of cell."""

    config: type  # a settings dataclass with a seed
    check: Callable[[Any], None]  # refuses names that do not fit, before anything is made
    report: Callable[[Any], dict[str, Any]]  # makes the cell's report, in the form of metrics.json


STUDIES: Mapping[str, Study] = {
    "tutorial": Study(tutorial.TutorialConfig, tutorial.check, tutorial.study),
    "open_bandit": Study(
        open_bandit.OpenBanditConfig, lambda c: policies.check_reward_model(c.reward_model), open_bandit.study
    ),
    "coverage": Study(coverage.CoverageConfig, lambda c: policies.check_reward_model(c.reward_model), coverage.study),
    "fusion_study": Study(Config, fusion_study.check, fusion_study.study),
    "simulate": Study(Config, checks.check, simulate.study),
    "planted": Study(planted.PlantedConfig, lambda c: policies.check_gate(c.gate), planted.study),
}
