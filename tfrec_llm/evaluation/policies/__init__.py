"""Would another policy do better? Off-policy estimates from logged slates, and the gate that ships or refuses."""

from tfrec_llm.evaluation.policies.estimators import (
    ESTIMATORS,
    Estimate,
    Estimator,
    build_estimator,
    estimate_all,
)
from tfrec_llm.evaluation.policies.gate import Verdict, check_gate, decide, judged_decisions
from tfrec_llm.evaluation.policies.reward_models import REWARD_MODELS, check_reward_model, cross_fitted
from tfrec_llm.evaluation.policies.weights import (
    NoOverlapError,
    Weighted,
    check_log,
    check_overlap,
    effective_sample,
    warnings_of,
    weigh,
)

__all__ = [
    "ESTIMATORS",
    "REWARD_MODELS",
    "Estimate",
    "Estimator",
    "NoOverlapError",
    "Verdict",
    "Weighted",
    "build_estimator",
    "check_gate",
    "check_log",
    "check_overlap",
    "check_reward_model",
    "cross_fitted",
    "decide",
    "effective_sample",
    "estimate_all",
    "judged_decisions",
    "warnings_of",
    "weigh",
]
