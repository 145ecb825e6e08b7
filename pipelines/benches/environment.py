"""The peers' environments: each is made once from the lock beside this file, apart from our own.

`.venv-bench` holds the peers of today; RecBole, which wants older versions of NumPy and pandas, has
`.venv-bench-recbole`. PyTorch is installed apart from the locks, from whatever index pip is set to: an index of CPU
builds (pip's variable PIP_INDEX_URL) saves the CUDA libraries.
"""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tfrec_llm.training import files

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Environment:
    """One environment: its folder in the checkout, its lock, and the last Python that its packages have wheels for."""

    folder: str
    lock: str
    newest: tuple[int, int] = (3, 13)


ENVIRONMENTS = {
    "peers": Environment(".venv-bench", "peers.lock"),
    "recbole": Environment(".venv-bench-recbole", "recbole.lock", newest=(3, 12)),  # NumPy 1.26 ends there
}


def lock_of(name: str) -> Path:
    """The lock of an environment in `ENVIRONMENTS`."""
    return Path(__file__).with_name(ENVIRONMENTS[name].lock)


def python(name: str = "peers") -> Path:
    """The interpreter of an environment, which is made if it is not there or its lock has changed.

    Args:
      name: in `ENVIRONMENTS`.

    Raises:
      ValueError: this Python is too new for it, or a package could not be installed.
    """
    wanted, lock, version = ENVIRONMENTS[name], lock_of(name), sys.version_info[:2]
    if version > wanted.newest:
        raise ValueError(
            f"bench: expected Python {wanted.newest[0]}.{wanted.newest[1]} or older for {wanted.folder}, got "
            f"{version[0]}.{version[1]}: packages of {lock.name} have no wheels for it; run this bench with an older."
        )
    venv = ROOT / wanted.folder
    interpreter, stamp = venv / "bin" / "python", venv / "made-from"
    made_from = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {TORCH} python {version[0]}.{version[1]}\n"
    if stamp.is_file() and stamp.read_text("ascii") == made_from:
        return interpreter
    print(f"bench: {venv.name} from {lock.relative_to(ROOT)} and {TORCH}, once", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    pip = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    _run([*pip, "--no-deps", "--require-hashes", "-r", str(lock)], venv)
    _run([*pip, TORCH], venv)
    files.write_text(stamp, made_from)
    return interpreter


def _run(command: list[str], venv: Path) -> None:
    if subprocess.run(command, check=False).returncode:
        raise ValueError(
            f"expected {venv.name} to be made, got an error of pip (above): check the network and the free disk (3 GB; "
            "8 GB where PyTorch comes with CUDA), then run again."
        )
