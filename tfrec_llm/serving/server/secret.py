"""The secret that turns user ids into keys of the event log: from the environment, else drawn once for a run."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from tfrec_llm.feedback import user_key

VARIABLE = "TFREC_LLM_SECRET"
FILE = "secret"


def read_secret(run: Path, environment: Mapping[str, str] = os.environ, draw: bool = True) -> bytes:
    """The server's secret.

    Args:
      run: the run folder; where the environment has no secret, its file `secret` (mode 600) has, drawn the first time.
      environment: of the process.
      draw: whether one is drawn where there is none.

    Raises:
      ValueError: a secret that could be guessed, or none that may be drawn.
      OSError: the file cannot be read or written.
    """
    named = environment.get(VARIABLE, "")
    if not (named or draw or (run / FILE).exists()):
        raise ValueError(f"{run / FILE}: expected the server's secret, found none; give it by {VARIABLE}.")
    secret = named.encode() if named else _kept(run / FILE)
    try:
        user_key(secret, "")
    except ValueError as error:
        raise ValueError(f"{VARIABLE if named else run / FILE}: {error}") from error
    return secret


def _kept(path: Path) -> bytes:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    if not path.exists():
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(partial, path)  # whole, or another server's
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return path.read_bytes().strip()
