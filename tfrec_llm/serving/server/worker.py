"""The model's own process: `python -m tfrec_llm.serving.server.worker FD`, started by `process`, asked over a socket.

TensorFlow lives here and not in the server, so that a model that dies takes no open request with it, and the memory of
an old version goes with its process.
"""

import logging
import signal
import socket
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tfrec_llm import training
from tfrec_llm.config import Train
from tfrec_llm.serving.bundle import read_policy
from tfrec_llm.serving.golden import check_golden
from tfrec_llm.serving.manifest import check_manifest, fusion_of
from tfrec_llm.serving.server import wire
from tfrec_llm.serving.server.answering import Answering, load
from tfrec_llm.serving.server.asks import Facts
from tfrec_llm.text.encoders.engine import resolve

AT_ONCE = 1  # golden queries of a policy that is taken over: requests wait meanwhile


def main() -> None:
    """Loads what the first frame names, says that it is ready, and answers until the server closes the socket."""
    logging.basicConfig(level=logging.INFO, format="worker: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the server's, which closes the socket
    stream = socket.socket(fileno=int(sys.argv[1])).makefile("rwb")
    order = wire.receive(stream)
    if order is None:
        return
    try:
        serving = _prepare(order[0])
    except (ValueError, OSError) as error:  # the server says it
        _send(stream, {"error": str(error).rstrip(".")})
        sys.exit(1)
    except Exception as error:
        _send(stream, {"error": f"{type(error).__name__}: {error}".rstrip(".")})
        raise
    _send(stream, {"ready": asdict(serving.facts)})
    while (frame := wire.receive(stream)) is not None:
        if "reload" in frame[0]:
            _send(stream, _reload(serving, Path(frame[0]["reload"])))
        else:
            stream.write(_answer(serving.answering, frame[0]["rows"]))
            stream.flush()


@dataclass
class _Serving:
    """What the worker has loaded."""

    answering: Answering
    facts: Facts
    folder: Path
    overlap: float  # of golden slates


def _prepare(order: dict[str, Any]) -> _Serving:
    training.set_threads(Train(threads=_own_threads(order["engine"], order["threads"])))
    folder, run = Path(order["model"]), Path(order["run"])
    check_manifest(folder)
    answering = load(folder, run, order["engine"], order["threads"], order["log_candidates"])
    check_golden(folder, answering.lists, order["golden_overlap"])
    fusion = fusion_of(folder) or folder.name
    widths = [answering.widths[name] for name in ("history", "attributes", "exclude")]
    facts = Facts(folder.name, fusion, *widths, answering.candidates, answering.engine)
    return _Serving(answering, facts, folder, order["golden_overlap"])


def _own_threads(engine: str, threads: int) -> int:
    """Threads of TensorFlow's operations.

    One decides soonest where another engine encodes: the operations of `decide` are too small to be shared out, and the
    server needs a core too.
    """
    return threads or (1 if engine != "export" and resolve(engine, one_by_one=True) == "openvino" else 0)


def _reload(serving: _Serving, folder: Path) -> dict[str, Any]:
    """Takes the policy of another version over, unless its files or its golden answers are wrong."""
    before = serving.answering.policy()
    try:
        check_manifest(folder, trusted=serving.folder)
        serving.answering.take_policy(read_policy(folder), int(folder.name))
        check_golden(folder, serving.answering.lists, serving.overlap, AT_ONCE)
    except (ValueError, OSError) as error:
        serving.answering.take_policy(before, int(serving.folder.name))
        return {"refused": str(error)}
    serving.folder, serving.facts = folder, replace(serving.facts, version=folder.name)
    return {"ready": asdict(serving.facts)}


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
    main()
