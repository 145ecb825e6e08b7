"""`train` killed at any point, started again: nothing half-written counts, and the result is the same."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines import train

ROOT = Path(__file__).parents[2]


MOMENTS = [
    "behaviour: pass 3/",
    *(pytest.param(moment, marks=pytest.mark.slow) for moment in ("text head", "retrieval/blend: b", "ranking: b")),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_ends_as_one_that_was_not(smoke_run, tmp_path, moment):
    run = tmp_path / "run"
    _kill_at(moment, run)
    assert not (run / "export").exists()
    train.main(["--config", "smoke", "--run", str(run)])
    for stage in ("text/item_vectors", "behaviour/weights", "retrieval/towers/towers", "ranking/weights"):
        with np.load(smoke_run / f"{stage}.npz") as whole, np.load(run / f"{stage}.npz") as resumed:
            assert set(whole.files) == set(resumed.files)
            for name in whole.files:
                np.testing.assert_allclose(whole[name], resumed[name], atol=1e-4)


def _kill_at(moment: str, run: Path) -> None:
    """Starts `train` and kills it, without warning, when its log first says `moment`."""
    command = [sys.executable, "-m", "pipelines.train", "--config", "smoke", "--run", str(run)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        for line in process.stderr:
            if moment in line.decode("utf-8", "replace"):
                time.sleep(0.05)
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.read()
    assert process.returncode == -signal.SIGKILL
