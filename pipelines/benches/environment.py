"""`.venv-bench`: the peers in an environment of their own, made once from the lock beside this file.

PyTorch is installed apart from the lock: its CPU build lies on an index of its own and, where that is not reached, the
package index has a build of the same version with the CUDA libraries it needs.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from tfrec_llm.training import files

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-bench"
LOCK = Path(__file__).with_name("requirements.lock")
TORCH = "torch==2.13.0"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def python() -> Path:
    """The interpreter of `.venv-bench`, which is made if it is not there or its lock has changed.

    Raises:
      ValueError: a package could not be installed.
    """
    interpreter, stamp = VENV / "bin" / "python", VENV / "made-from"
    wanted = (
        f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {TORCH} python {sys.version_info[0]}.{sys.version_info[1]}\n"
    )
    if stamp.is_file() and stamp.read_text("ascii") == wanted:
        return interpreter
    print(f"bench: {VENV.name} from {LOCK.relative_to(ROOT)} and {TORCH}, once", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    _run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)])
    light = [*pip, "--no-deps", "--retries", "0", "--timeout", "20", "--index-url", TORCH_INDEX, TORCH + "+cpu"]
    if subprocess.run(light, check=False, stderr=subprocess.DEVNULL).returncode:
        _run([*pip, TORCH])
    files.write_text(stamp, wanted)
    return interpreter


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise ValueError(
            f"expected {VENV.name} to be made, got an error of pip (above): check the network and the free disk (3 GB; "
            "8 GB where PyTorch comes with CUDA), then run again."
        )
