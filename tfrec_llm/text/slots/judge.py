"""How well slots are heard: spans, values and bounds, on the sentences that the test's phrases made."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm.text.slots.alignment import spans_of
from tfrec_llm.text.slots.model import SlotModel
from tfrec_llm.types import SpanUtterances

RESAMPLES = 300  # of an interval
Figures = dict[str, dict[str, Any]]


def judge_slots(
    model: SlotModel,
    said: SpanUtterances,
    tagged: tuple[np.ndarray, np.ndarray, np.ndarray],
    named: tuple[np.ndarray, Mapping[str, np.ndarray]],
    seed: int,
) -> Figures:
    """`text.slots.f1` of spans (kind, first and last token all right) and `text.slots.values_micro_f1`.

    Args:
      model: trained.
      said: sentences with spans.
      tagged: token vectors [M, D], their true tags [M], tokens of each sentence [R].
      named: embeddings [R, D], attribute -> [R] number of the value that is named, 0 = none.
      seed: of the intervals.
    """
    tokens, tags, lengths = tagged
    embeddings, targets = named
    test = np.flatnonzero(said.split == "test")
    if not len(test):
        return {}
    predicted, ends = np.argmax(model.tagger(tf.constant(tokens)).numpy(), axis=-1), np.cumsum(lengths)
    parts = [slice(ends[row] - lengths[row], ends[row]) for row in test]
    spans = [[set(spans_of(found[part], model.kinds)) for found in (tags, predicted)] for part in parts]
    truth = np.stack([targets[name][test] for name in model.values], axis=1)  # [R, attributes]
    heard = np.stack([np.argmax(h(tf.constant(embeddings[test])).numpy(), 1) for h in model.heads.values()], axis=1)
    counts = {
        "f1": np.array([(len(true & found), len(true), len(found)) for true, found in spans]),
        "values_micro_f1": np.stack(
            [((truth == heard) & (truth > 0)).sum(1), (truth > 0).sum(1), (heard > 0).sum(1)], axis=1
        ),
    }
    return {
        f"text.slots.{name}": _figure(lambda kept, c=c: f1_of(c[kept]), len(test), seed) for name, c in counts.items()
    }


def f1_of(counts: np.ndarray) -> float:
    """F1 over rows [R, 3] of what was right, what is true and what was found; 1 where there is nothing to find."""
    right, true, found = counts.sum(axis=0)
    return float(2 * right / (true + found)) if true + found else 1.0


def _figure(measure: Callable[[np.ndarray], float], count: int, seed: int) -> dict[str, Any]:
    """A figure over sentences with its bootstrap interval."""
    draw = np.random.default_rng(seed)
    samples = [measure(draw.integers(0, count, count)) for _ in range(RESAMPLES)]
    low, high = np.quantile(samples, [0.025, 0.975])
    value = measure(np.arange(count))
    return {"value": value, "ci95": [float(low), float(high)], "over": "users", "n": count, "split": "test"}
