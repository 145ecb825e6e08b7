"""Event sequence -> BehaviourSignals: what the user will do next, learnt from all users' training events."""

from tfrec_llm.behaviour.lstm import LstmBehaviour as BehaviourModel
from tfrec_llm.behaviour.stage import MODELS, load, train

__all__ = ["MODELS", "BehaviourModel", "load", "train"]
