"""What the training of every stage shares: steps, precision, XLA, strategy, callbacks, checkpoints, resume.

Functions and Keras callbacks, no Trainer class: a stage builds and compiles its own Keras model, `fit` trains it, and
`run_stage` makes sure that only whole results are ever seen.
"""

from tfrec_llm.training.compute import Compute, choose_compute, commonest, precision
from tfrec_llm.training.fit import fit, latest_is_best
from tfrec_llm.training.init_from import Origin, find_origin
from tfrec_llm.training.passes import UNHURRIED, planned_passes, untuned
from tfrec_llm.training.projector import write_projector
from tfrec_llm.training.resume import Stage, read_stage, run_stage, stage_fingerprint
from tfrec_llm.training.strategy import make_strategy, set_threads
from tfrec_llm.training.weights import load_weights, save_weights

__all__ = [
    "UNHURRIED",
    "Compute",
    "Origin",
    "Stage",
    "choose_compute",
    "commonest",
    "find_origin",
    "fit",
    "latest_is_best",
    "load_weights",
    "make_strategy",
    "planned_passes",
    "precision",
    "read_stage",
    "run_stage",
    "save_weights",
    "set_threads",
    "stage_fingerprint",
    "untuned",
    "write_projector",
]
