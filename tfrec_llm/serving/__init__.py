"""One tf.Module that answers requests, and its export as a SavedModel that a stock TensorFlow Serving loads."""

from tfrec_llm.serving.compose import load_recommender, load_signal_path, load_unblended
from tfrec_llm.serving.export import export, newest_version
from tfrec_llm.serving.recommender import Answer, Recommender, Request
from tfrec_llm.serving.signals import SignalPath, Signals

__all__ = [
    "Answer",
    "Recommender",
    "Request",
    "SignalPath",
    "Signals",
    "export",
    "load_recommender",
    "load_signal_path",
    "load_unblended",
    "newest_version",
]
