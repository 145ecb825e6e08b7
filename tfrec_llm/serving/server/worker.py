"""The model's own process: `python -m tfrec_llm.serving.server.worker FD`, started by `process`, asked over a socket.

TensorFlow lives here and not in the server, so that a model that dies takes no open request with it, and the memory of
an old version goes with its process.
"""

import logging
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from tfrec_llm import training
from tfrec_llm.config import Train
from tfrec_llm.serving.manifest import check_manifest
from tfrec_llm.serving.server import wire
from tfrec_llm.serving.server.answering import Answering, load
from tfrec_llm.serving.server.asks import Facts


def main() -> None:
    """Loads what the first frame names, says that it is ready, and answers until the server closes the socket."""
    logging.basicConfig(level=logging.INFO, format="worker: %(message)s", stream=sys.stderr)
    stream = socket.socket(fileno=int(sys.argv[1])).makefile("rwb")
    order = wire.receive(stream)
    if order is None:
        return
    try:
        answering, facts = _prepare(order[0])
    except Exception as error:  # whatever it is, the server says it
        _send(stream, {"error": f"{type(error).__name__}: {error}"})
        raise
    _send(stream, {"ready": asdict(facts)})
    while (frame := wire.receive(stream)) is not None:
        stream.write(_answer(answering, frame[0]["rows"]))
        stream.flush()


def _prepare(order: dict[str, Any]) -> tuple[Answering, Facts]:
    training.set_threads(Train(threads=order["threads"]))
    folder, run = Path(order["model"]), Path(order["run"])
    check_manifest(folder)
    answering = load(folder, run, order["engine"], order["threads"], order["log_candidates"])
    try:
        fusion = training.stage_fingerprint(run, "fusion/context")
    except ValueError:  # an export without its run
        fusion = folder.name
    widths = [answering.widths[name] for name in ("history", "attributes", "exclude")]
    return answering, Facts(folder.name, fusion, *widths, answering.candidates, answering.engine)


def _answer(answering: Answering, rows: list[dict[str, Any]]) -> bytes:
    try:
        return wire.pack(*answering(rows))
    except Exception as error:  # one request must not end the process; its text stays out of the log
        logging.getLogger(__name__).warning("a batch of %d failed: %s", len(rows), type(error).__name__)
        return wire.pack({"failed": type(error).__name__})


def _send(stream: BinaryIO, head: dict[str, Any]) -> None:
    stream.write(wire.pack(head))
    stream.flush()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
