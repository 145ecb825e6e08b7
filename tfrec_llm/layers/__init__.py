"""Keras layers and losses that two stages or more use: item vectors, steps and gaps, LSTM, softmax, exact top-k."""

from tfrec_llm.layers.item_table import ItemTable
from tfrec_llm.layers.lstm import LSTM

__all__ = ["LSTM", "ItemTable"]
