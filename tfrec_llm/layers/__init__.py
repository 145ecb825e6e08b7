"""Keras layers and losses that two stages or more use: item vectors, steps, recurrence, attention, softmax, top-k."""

from tfrec_llm.layers.attention import CausalAttention
from tfrec_llm.layers.gru import GRU
from tfrec_llm.layers.item_table import ItemTable
from tfrec_llm.layers.lstm import LSTM

__all__ = ["GRU", "LSTM", "CausalAttention", "ItemTable"]
