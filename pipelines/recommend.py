"""Asks a run's export for a slate: `python -m pipelines.recommend --config video --user 1 --text "something funny"`."""

import sys
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (its ops are in the export)

from pipelines import arguments, stages
from tfrec_llm import data, serving
from tfrec_llm.serving.versions import ADDED
from tfrec_llm.types import Dataset


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a slate with titles, reasons and propensities.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    parser = arguments.parser(__doc__)
    parser.add_argument("--user", default="", help="a user id of the data; anybody else has no history")
    parser.add_argument("--text", default="", help="what the user says")
    parser.add_argument("--k", type=int, default=10, help="items to show")
    parser.add_argument("--request-id", default="recommend", help="keys the exploration; empty = greedy")
    options = parser.parse_args(argv)
    _, run = arguments.read(options)
    version = serving.served_version(run / "export")
    if not version:
        raise ValueError(f"{run / 'export'}: expected an export, found none; run `make train CONFIG={options.config}`.")
    model = tf.saved_model.load(str(run / "export" / str(version)))
    answer = ask(model, stages.load_dataset(run), options.user, options.text, options.k, options.request_id)
    print(render(answer, data.read_names(run / "data", run / ADDED)[1]))


def ask(model, dataset: Dataset, user: str, text: str, k: int, request_id: str) -> dict[str, np.ndarray]:
    """One request to `serving_default`, the user's history taken from the data.

    Args:
      model: a loaded SavedModel.
      dataset: where the history is looked up.
      user: user id; one that the data does not know has no history.
      text: utterance, "" = none.
      k: items to show.
      request_id: keys the exploration, "" = greedy.

    Returns:
      name -> the answer's first row.
    """
    serve = model.signatures["serving_default"]
    spec = serve.structured_input_signature[1]
    width = {name: spec[name].shape[1] for name in ("history", "attributes", "exclude")}
    items, events, times = history_of(dataset, user, width["history"])
    answer = serve(
        request_id=tf.constant([request_id]),
        user_id=tf.constant([user]),
        utterance=tf.constant([text]),
        history=tf.constant([items]),
        history_event=tf.constant([events]),
        history_time=tf.constant([times], tf.int64),
        request_time=tf.constant([0], tf.int64),
        attributes=tf.fill([1, width["attributes"]], ""),
        exclude=tf.fill([1, width["exclude"]], ""),
        k=tf.constant([k], tf.int32),
    )
    return {name: value.numpy()[0] for name, value in answer.items()}


def history_of(dataset: Dataset, user: str, width: int) -> tuple[list[str], list[str], list[int]]:
    """The newest events of a user, padded to a width: item ids, event types, times."""
    events = dataset.interactions
    who = np.flatnonzero(events.user_ids == user)
    rows = np.flatnonzero(events.user == who[0])[-width:] if len(who) else np.zeros(0, int)
    names = ("", "", *dataset.domain.events)
    padding = width - len(rows)
    return (
        [str(i) for i in dataset.catalogue.item_ids[events.item[rows]]] + [""] * padding,
        [names[e] for e in events.event[rows]] + [""] * padding,
        [int(t) for t in events.time[rows]] + [0] * padding,
    )


def render(answer: dict[str, np.ndarray], titles: Mapping[str, str]) -> str:
    """The answer as a table for people."""

    def title(item: bytes) -> str:
        return str(titles.get(item.decode(), item.decode()))

    lines = []
    if answer["intent"]:
        lines.append(
            f"heard: intent {answer['intent'].decode()} ({answer['intent_probability']:.2f}), "
            f"emotion {answer['emotion'].decode()} ({answer['emotion_probability']:.2f}), "
            f"sentiment {answer['sentiment'].decode()}"
        )
    lines.append(f"{'':>3} {'propensity':>10} {'score':>8}  title  <- because of")
    rows = zip(answer["item_ids"], answer["propensities"], answer["scores"], answer["because"], strict=True)
    for place, (item, propensity, score, because) in enumerate(rows, start=1):
        if not item:
            break
        reasons = "; ".join(title(i) for i in because if i)
        arrow = f"  <- {reasons}" if reasons else ""
        lines.append(f"{place:>3} {propensity:>10.4f} {score:>8.4f}  {title(item)}{arrow}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    arguments.program(main)
