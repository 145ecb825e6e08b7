"""Slots: which attributes and prices an utterance names, and which items have them."""

from tfrec_llm.text.slots.model import NUM_BOUNDS, SlotModel, inside, split_bounds, with_bounds
from tfrec_llm.text.slots.stage import item_table, load_slots, write_slots

__all__ = [
    "NUM_BOUNDS",
    "SlotModel",
    "inside",
    "item_table",
    "load_slots",
    "split_bounds",
    "with_bounds",
    "write_slots",
]
