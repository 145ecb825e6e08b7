"""A program's start says nothing that its user cannot act on."""

import subprocess
import sys

from tfrec_llm._keras import DRIVER

START = "import tfrec_llm, tensorflow as tf; from tfrec_llm.ranking import AGENTS; tf.constant(1); print(len(AGENTS))"


def test_a_start_is_quiet():
    started = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, timeout=120, check=True)
    assert int(started.stdout) > 5
    assert "Gym" not in started.stderr
    assert DRIVER.exists() or not started.stderr
