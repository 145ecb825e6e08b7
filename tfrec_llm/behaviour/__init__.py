"""Event sequence -> BehaviourSignals: what the user will do next, learnt from all users' training events."""

from tfrec_llm.behaviour.ensemble import members, metric_key
from tfrec_llm.behaviour.models import MODELS
from tfrec_llm.behaviour.sequence import SequenceModel as BehaviourModel
from tfrec_llm.behaviour.stage import later_rows, load, train

__all__ = ["MODELS", "BehaviourModel", "later_rows", "load", "members", "metric_key", "train"]
