"""Learns from the event log of a run that is served: `python -m pipelines.update --config video`.

Ends when it is interrupted; `--once` when no batch of events is left. `--rollback` goes back to the version before,
`--replay` learns everything again and compares, `--labels` waits until models.config may name the version that serves
to a TensorFlow Serving, `--forget` deletes a user from the log, and fails where it finds nothing. `--stage items` reads
the items file again instead: the next version knows new items without a training.
"""

import argparse
import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines import arguments
from tfrec_llm import training
from tfrec_llm.config import Config
from tfrec_llm.feedback import EventLog, LogUnavailableError, user_key
from tfrec_llm.serving import update as learning
from tfrec_llm.serving import versions
from tfrec_llm.serving.server.parts import log_url
from tfrec_llm.serving.server.secret import read_secret

NICE = 10  # the server comes first
STAGES = ("all", "items")
SHOWN = 5  # ids that are named


def main(argv: Sequence[str] | None = None) -> None:
    """Event log -> next versions in `<run>/export`, which a running server takes over.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    options = _parser().parse_args(argv)
    if options.stage not in STAGES:
        raise ValueError(f"STAGE: expected one of {', '.join(STAGES)}, got {options.stage!r}.")
    if options.attended:
        threading.Thread(target=_attend, daemon=True).start()
    config, run = arguments.read(options)
    try:
        print(_done(options, config, run))
    except LogUnavailableError as error:
        raise ValueError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--once", action="store_true", help="end when no batch of events is left")
    what.add_argument("--rollback", action="store_true", help="serve the version before, and this one never again")
    what.add_argument("--replay", action="store_true", help="learn everything again from the log, and compare")
    what.add_argument("--labels", action="store_true", help="move the labels in models.config, when it may be done")
    what.add_argument("--forget", metavar="USER", help="delete what the event log has of a user")
    parser.add_argument("--attended", action="store_true", help="end when the standard input is closed")
    parser.add_argument("--stage", default="all", help="items: read data.items again, learn nothing; all: learn")
    return parser


def _done(options: argparse.Namespace, config: Config, run: Path) -> str:
    """Does what the options say; what came of it, for people."""
    folder = run / "export"
    if options.rollback:
        labels = versions.roll_back(folder, "taken back by hand")
        return f"update: version {labels.stable} in {folder} serves again"
    if options.labels:
        while left := versions.settle(folder):
            time.sleep(left)
        return f"update: {folder / versions.SERVING} names version {versions.read_labels(folder).told or 'nothing'}"
    if options.forget is not None:
        return _forget(config, run, options.forget)
    os.nice(NICE)
    training.set_threads(config.train)
    if options.replay:
        return f"update: replayed; the largest difference of any weight is {learning.replay(config, run):.3g}"
    if options.stage == "items":
        return told(learning.update_items(config, run), run)
    with contextlib.suppress(KeyboardInterrupt):
        learning.update(config, run, once=options.once)
    return f"update: version {versions.served_version(folder)} serves; what was learnt: {folder}"


def _forget(config: Config, run: Path, user: str) -> str:
    """Deletes a user's rows from the event log.

    Raises:
      ValueError: there are none, as with another secret or log than the server's.
    """
    key = user_key(read_secret(run, draw=False), user)
    with contextlib.closing(EventLog(log_url(run, config.serving), new=False)) as log:
        gone = log.forget_user(key)
    if not gone.decisions and not gone.events:
        kept = (
            "; somebody reads the log, whose file keeps what was deleted before until then" if gone.is_pending else ""
        )
        raise ValueError(
            f"--forget: expected decisions of this user, nothing found: is this the server's secret and log?{kept}"
        )
    said = f"update: {gone.decisions:,} decisions and {gone.events:,} events of this user are deleted"
    if gone.is_pending:
        return (
            f"{said}; somebody reads the log, whose file keeps the bytes until then: call this again in a moment, when "
            "it finds nothing more"
        )
    return f"{said}; what was learnt from them stays in the weights until they are trained again"


def _attend() -> None:
    """Ends this process when whoever holds the other end of its input is gone, as a kill would at any moment."""
    while os.read(0, 1):  # sys.stdin would keep a lock that the interpreter's end waits for
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def told(update: learning.ItemsUpdate, run: Path) -> str:
    """What became of the items file, for people."""
    change = update.change
    lines = [
        f"  {len(ids):,} {what}: {', '.join(ids[:SHOWN])}{', ...' if len(ids) > SHOWN else ''}"
        for ids, what in (
            (change.added, "added"),
            (change.gone, "no longer shown (not in the file, or not available)"),
            (change.back, "shown again"),
            (change.retold, "with another title or price, taken over"),
            (change.waiting, "with another text or attribute: their vectors follow with the next `make train`"),
        )
        if ids
    ]
    if update.version:
        said = f"items: version {update.version} in {run / 'export'} knows them and serves, {update.seconds:.0f} s"
    else:
        said = f"items: nothing new; version {versions.served_version(run / 'export')} goes on"
    return "\n".join([*lines, said])


if __name__ == "__main__":
    arguments.program(main)
