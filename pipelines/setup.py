"""Makes `.venv` from `requirements.lock`: `python3 pipelines/setup.py`.

Runs before anything is installed, by whatever `python3` is: standard library only, syntax of Python 3.6.
"""

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 11), (3, 13)
DISK_GB = 5
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
LOCK = os.path.join(ROOT, "requirements.lock")
STAMP = os.path.join(VENV, "made-from")

NO_DISK = f"the disk is full: .venv and pip's temporary files need about {DISK_GB} GB; free some and run again"
NO_NETWORK = "the package index was not reached: check the network, the proxy and pip's index setting, then run again"
WRONG_HASH = (
    "a downloaded package is not the one in requirements.lock (expected the hash there, got another): "
    "run `pip cache purge` and try again; if it comes back, somebody changes files on the way"
)
NO_FILE = "the package index has no file of that version for this machine: Linux x86-64 is what the lock was tried on"

# What pip says -> what it means; the first that is found counts.
REASONS = (
    ("DO NOT MATCH THE HASHES", WRONG_HASH),
    ("No space left on device", NO_DISK),
    ("NewConnectionError", NO_NETWORK),
    ("Temporary failure in name resolution", NO_NETWORK),
    ("Max retries exceeded", NO_NETWORK),
    ("ProxyError", NO_NETWORK),
    ("ReadTimeoutError", NO_NETWORK),
    ("No matching distribution found", NO_FILE),
)


def stop(sentence):
    """Ends the program with one sentence."""
    sys.exit(f"setup: {sentence}.")


def version_of(python):
    """(major, minor) of an interpreter, or None where it does not run."""
    code = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        answer = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(int(part) for part in answer.stdout.split())


def find_python():
    """The interpreter that runs this file if it fits, else the newest on the path that does, and its version."""
    candidates = [sys.executable] + [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    for python in candidates:
        version = version_of(python)
        if version and OLDEST <= version <= NEWEST:
            return python, version
    return stop(
        f"expected Python 3.{OLDEST[1]} to 3.{NEWEST[1]}, got {sys.version_info[0]}.{sys.version_info[1]} and no other "
        "on the path: install one (with its venv module), or say make PYTHON=/path/to/python3.12"
    )


def wanted(version):
    """What a finished .venv is made from: the lock's hash and the Python version."""
    with open(LOCK, "rb") as lock:
        return f"{hashlib.sha256(lock.read()).hexdigest()} python {version[0]}.{version[1]}\n"


def made_from():
    """What .venv was made from, or "" where there is none or it was left half made."""
    try:
        with open(STAMP) as stamp:
            return stamp.read()
    except OSError:
        return ""


def make_venv(python):
    """An empty .venv."""
    made = subprocess.run(
        [python, "-m", "venv", "--clear", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if made.returncode:
        no_venv = f"expected `{python} -m venv` to work: install this Python's venv module (Debian: python3-venv)"
        stop(NO_DISK if b"No space left" in made.stdout else no_venv)


def install():
    """Every package of the lock, exact version and hash, without dependency resolution."""
    command = [os.path.join(VENV, "bin", "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "-r", LOCK]
    output = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as pip:
        for raw in pip.stdout:
            line = raw.decode("utf-8", "replace")
            output.append(line)
            if line.startswith(("Collecting", "Building", "Installing")):
                print(line.rstrip()[:120], flush=True)
    if pip.returncode:
        text = "".join(output)
        print("".join(output[-12:]), file=sys.stderr)
        stop(next((reason for sign, reason in REASONS if sign in text), "pip failed; its last lines stand above"))


def main():
    """Makes .venv, or finds it made."""
    python, version = find_python()
    if made_from() == wanted(version):
        return
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < DISK_GB:
        stop(f"expected {DISK_GB} GB of free disk for .venv, got {free:.1f}: free some and run again")
    print(f"setup: .venv for Python {version[0]}.{version[1]} from requirements.lock, once", flush=True)
    make_venv(python)
    install()
    with open(STAMP, "w") as stamp:
        stamp.write(wanted(version))


if __name__ == "__main__":
    main()
