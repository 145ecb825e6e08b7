"""Labelled texts -> heads, alone on frozen vectors or together with the encoder."""

from tfrec_llm.text.classification.fit import fit_head
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.joint import train_jointly
from tfrec_llm.text.classification.tasks import Task, make_tasks

__all__ = ["Head", "Task", "fit_head", "make_tasks", "train_jointly"]
