"""Slots: which attributes and prices an utterance names."""

from tfrec_llm.text.slots.model import SlotModel
from tfrec_llm.text.slots.train import train_slots

__all__ = ["SlotModel", "train_slots"]
