"""What could fit: the towers, the blend of all sources, one index -> Candidates."""

from tfrec_llm.retrieval.blend import BlendBatch, fit_blend
from tfrec_llm.retrieval.candidates import CandidateSource
from tfrec_llm.retrieval.index import INDEXES, build_index, recall_of_exact
from tfrec_llm.retrieval.item_item import load_choice, load_neighbours, train_item_item
from tfrec_llm.retrieval.later import load_with, source_rows
from tfrec_llm.retrieval.spoken import Spoken, bank, speakers
from tfrec_llm.retrieval.train import MODELS, judge, later_rows, load, model_settings, train

__all__ = [
    "INDEXES",
    "MODELS",
    "BlendBatch",
    "CandidateSource",
    "Spoken",
    "bank",
    "build_index",
    "fit_blend",
    "judge",
    "later_rows",
    "load",
    "load_choice",
    "load_neighbours",
    "load_with",
    "model_settings",
    "recall_of_exact",
    "source_rows",
    "speakers",
    "train",
    "train_item_item",
]
