"""Asks an export the hard questions with TensorFlow and TF Text only; run as a script by an isolated interpreter.

Usage: python -I foreign.py VERSION_FOLDER QUESTIONS.json ANSWERS.json
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Writes, for each question, every output of `serving_default` as nested lists."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    model = tf.saved_model.load(sys.argv[1])
    serve = model.signatures["serving_default"]
    answers = [ask(serve, question) for question in json.loads(Path(sys.argv[2]).read_text("utf-8"))]
    assert not [name for name in sys.modules if name.startswith("tfrec_llm")]
    Path(sys.argv[3]).write_text(json.dumps(answers), encoding="utf-8")


def ask(serve, rows: list[dict]) -> dict:
    """One batch: rows of user, text, history (items, events, times), k, request, exclude."""
    import tensorflow as tf

    spec = serve.structured_input_signature[1]

    def padded(name, values, empty):
        width = spec[name].shape[1]
        return tf.constant([(list(v) + [empty] * width)[:width] for v in values], spec[name].dtype)

    answer = serve(
        request_id=tf.constant([row.get("request", "") for row in rows]),
        user_id=tf.constant([row.get("user", "") for row in rows]),
        utterance=tf.constant([row.get("text", "") for row in rows]),
        history=padded("history", [row.get("items", []) for row in rows], ""),
        history_event=padded("history_event", [row.get("events", []) for row in rows], ""),
        history_time=padded("history_time", [row.get("times", []) for row in rows], 0),
        request_time=tf.constant([row.get("time", 0) for row in rows], tf.int64),
        attributes=padded("attributes", [[] for _ in rows], ""),
        exclude=padded("exclude", [row.get("exclude", []) for row in rows], ""),
        k=tf.constant([row.get("k", 10) for row in rows], tf.int32),
    )

    def plain(value):
        listed = value.numpy().tolist()
        return json.loads(json.dumps(listed, default=lambda b: b.decode("utf-8", "replace")))

    return {name: plain(value) for name, value in answer.items()}


if __name__ == "__main__":
    main()
