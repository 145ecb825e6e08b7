"""The system as a client meets it: the newest export is asked the protocol's questions in strings.

The row `exported` stands beside `system`, which asks the same parts in this process and leaves out all that a user has
seen; here only what the signature carries is known: the newest `export.max_history` events, and as many of the items
before them as `exclude` holds.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (its ops are in the export)

from tfrec_llm import serving
from tfrec_llm.config import Config
from tfrec_llm.serving import questions as asked
from tfrec_llm.serving.columns import WIDE, inputs_of
from tfrec_llm.serving.golden import request_rows
from tfrec_llm.types import PADDING, Dataset, Queries

ROW = "exported"
BATCH = 32  # requests, as a server's largest batch


def is_asked(config: Config) -> bool:
    """Whether the export is judged."""
    return config.evaluate.exported


def check(config: Config, run: Path) -> None:
    """Refuses to judge an export that is not there.

    Raises:
      ValueError: nothing is served from the run.
    """
    if is_asked(config) and not serving.served_version(run / "export"):
        raise ValueError(
            f"evaluate.exported: expected an export under {run / 'export'}, found none; run `make export`, or judge "
            "without it."
        )


def rank_export(config: Config, run: Path, dataset: Dataset, queries: Queries, path: Any) -> np.ndarray:
    """Greedy slates of the version that is served.

    Args:
      config: `evaluate.recall_at` items are asked for.
      run: the run folder.
      dataset: what `prepare` left.
      queries: R questions.
      path: the signal path, for what is known of the users.

    Returns:
      [R, recall_at] int32 item indices, best first, 0 where the slate ends.
    """
    version = serving.served_version(run / "export")
    serve = tf.saved_model.load(str(run / "export" / str(version))).signatures["serving_default"]
    spec = serve.structured_input_signature[1]
    widths = {name: spec[name].shape[1] for name in WIDE}
    index = {str(item): place for place, item in enumerate(dataset.catalogue.item_ids)}
    top = np.full((len(queries.user), config.evaluate.recall_at), PADDING, np.int32)
    for rows in asked.in_batches(len(queries.user), BATCH, ROW):
        requests = _requests(config, dataset, queries, rows, widths["history"])
        inputs = inputs_of(requests, widths) | {"utterance": np.full(len(rows), "", object)}
        if path.people is not None:
            known = path.people[queries.user[rows]]  # [b, A]
            inputs["attributes"][:, : known.shape[1]] = known
        found = serve(**{name: tf.constant(values) for name, values in inputs.items()})["item_ids"].numpy()
        slates = [[index.get(item.decode("utf-8"), PADDING) if item else PADDING for item in row] for row in found]
        top[rows, : found.shape[1]] = slates
    return top


def _requests(config: Config, dataset: Dataset, queries: Queries, rows: np.ndarray, width: int) -> list[dict[str, Any]]:
    """What a client would send: the newest events, and what was seen before them where nothing may come again."""
    requests = request_rows(dataset, queries, rows, width)
    for request, row in zip(requests, rows, strict=True):
        request["k"] = config.evaluate.recall_at
        if not dataset.domain.repeat:
            older = dataset.interactions.item[queries.begin[row] : max(queries.begin[row], queries.end[row] - width)]
            request["exclude"] = [str(item) for item in dataset.catalogue.item_ids[older]]
    return requests
