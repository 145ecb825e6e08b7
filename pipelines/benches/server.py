"""A peer that answers from a process of its own: a line of JSON in, a line of JSON out.

The process runs in an environment without anything of ours; what it prints besides answers goes to its standard error.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.benches import environment


class Server:
    """A started peer.

    Args:
      command: starts it.
      threads: that its libraries may use.
    """

    def __init__(self, command: Sequence[str], threads: int = 0):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        limits = dict.fromkeys(names, str(threads)) if threads else {}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits}
        )

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer.

        Raises:
          ValueError: it died; its own message stands above.
        """
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is told below that there is no answer
        line = self._process.stdout.readline()
        if not line:
            raise ValueError("expected an answer of the peer, got none: its message stands above.")
        return json.loads(line)

    def close(self) -> None:
        """Ends it."""
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def start(name: str, script: str, threads: int) -> Server:
    """Starts a script of this folder in an environment, which is made if it is not there.

    Args:
      name: in `environment.ENVIRONMENTS`.
      script: file name.
      threads: that its libraries may use.
    """
    quiet = ["-W", "ignore::FutureWarning"]
    return Server([str(environment.python(name)), *quiet, str(Path(__file__).with_name(script))], threads)
