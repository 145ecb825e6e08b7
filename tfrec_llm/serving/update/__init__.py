"""Learning while serving: log -> batch -> policy -> gate -> next version -> watched, and taken back where it is worse.

Runs in a process of its own; the server follows the labels that it sets.
"""

from tfrec_llm.serving.update.history import Learnt
from tfrec_llm.serving.update.items import ItemsUpdate, update_items
from tfrec_llm.serving.update.loop import Updates, replay, update

__all__ = ["ItemsUpdate", "Learnt", "Updates", "replay", "update", "update_items"]
