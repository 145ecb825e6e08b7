"""Serves a run over HTTP: `python -m pipelines.serve --config video --set serving.port=8500`.

With `serving.learn=true` a second process learns from the event log meanwhile, see `pipelines.update`.
"""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines import arguments
from tfrec_llm.serving import server

PATIENCE = 30.0  # seconds before an update that ended is started again


def main(argv: Sequence[str] | None = None) -> None:
    """Answers until it is interrupted.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    argv = sys.argv[1:] if argv is None else argv
    config, run = arguments.read(arguments.parser(__doc__).parse_args(argv))
    signal.signal(signal.SIGTERM, _end)
    with (
        contextlib.suppress(KeyboardInterrupt),  # how a server ends
        _learning(argv) if config.serving.learn else contextlib.nullcontext(),
    ):
        server.run_server(run, config.serving)


def _end(*_: Any) -> None:
    """SIGTERM: all that was begun is ended in its order, where the default would leave the other process behind."""
    raise SystemExit(0)


@contextlib.contextmanager
def _learning(argv: Sequence[str]) -> Iterator[None]:
    """`pipelines.update` with the same arguments, started again whenever it ends.

    It reads from a pipe that this process alone writes to, and ends when that is closed: it outlives no server, however
    that ends. Ctrl-C does not reach it.
    """
    command = [sys.executable, "-m", "pipelines.update", "--attended", *argv]
    over, running = threading.Event(), []

    def keep() -> None:
        while not over.is_set():
            process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
            running[:] = [process]
            if over.is_set():  # it was started while the server ended, which may have found none to end
                process.terminate()
            process.wait()
            over.wait(PATIENCE)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        for process in running:
            process.terminate()
        thread.join()


if __name__ == "__main__":
    arguments.program(main)
