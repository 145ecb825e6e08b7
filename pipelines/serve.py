"""Serves a run over HTTP: `python -m pipelines.serve --config video --set serving.port=8500`.

With `serving.learn=true` a second process learns from the event log meanwhile, see `pipelines.update`.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

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
    with (
        contextlib.suppress(KeyboardInterrupt),  # how a server ends
        _learning(argv) if config.serving.learn else contextlib.nullcontext(),
    ):
        server.run_server(run, config.serving)


@contextlib.contextmanager
def _learning(argv: Sequence[str]) -> Iterator[None]:
    """`pipelines.update` with the same arguments, started again whenever it ends."""
    over, running = threading.Event(), []

    def keep() -> None:
        while not over.is_set():
            running[:] = [subprocess.Popen([sys.executable, "-m", "pipelines.update", *argv])]
            running[0].wait()
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
