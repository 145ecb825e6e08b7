"""Precision and XLA: which of them makes a stage's training step fastest on this machine.

On a GPU the answer is known: XLA on, mixed precision where the hardware has it. On a CPU it depends on the step (XLA
helps some by a third and slows an LSTM tenfold; bfloat16 needs AMX or AVX-512), so it is measured on one batch and the
answer is kept for the next run.
"""

import collections
import contextlib
import gc
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrec_llm.config import Train
from tfrec_llm.training import files
from tfrec_llm.training.fingerprint import fingerprint

MIN_GAIN = 0.95  # a candidate must take at most this share of the time of the one before to replace it
MAX_COMPILE_SECONDS = 60.0  # XLA compiles once per shape: a step that compiles longer is not worth it
MAX_SECONDS = 5.0  # of warm steps per candidate, once it has made WARM_STEPS of them
WARM_STEPS, MAX_STEPS = 3, 50
HOPELESS = 3.0  # times the limit: one such step is enough
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compute:
    """How a stage's step is computed."""

    precision: str  # float32, mixed_bfloat16 or mixed_float16
    jit_compile: bool  # XLA
    reason: str = "as configured"
    seconds: Mapping[str, float] = field(default_factory=dict)  # candidate -> median seconds of a warm step

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.precision}{' xla' if self.jit_compile else ''}"


@contextlib.contextmanager
def precision(compute: Compute) -> Iterator[None]:
    """Sets Keras' global precision policy while a model is built, and puts the one before back."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(compute.precision)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def choose_compute(
    build: Callable[[Compute], tf.keras.Model], batch: Any, settings: Train, *, stage: str, cache: Path | None = None
) -> Compute:
    """Precision and XLA for a stage: as configured, by rule on a GPU, by measuring training steps on a CPU.

    A running XLA compilation cannot be interrupted, so `batch` should be small (the first shape bucket) and stand for
    the real ones. A candidate that fails to compile, takes longer than 60 s to, or has no finite loss is not taken.

    Args:
      build: a compiled model for a Compute; called inside `precision(compute)`, once per candidate measured.
      batch: one batch as `fit` gets it.
      settings: `precision` and `xla`; what is not "auto" is not up for choice.
      stage: what is trained, with whatever else its speed depends on ("behaviour lstm 256"); part of the cache's key.
      cache: folder of earlier answers; default `compute/` in the cache of the project (TFREC_LLM_CACHE).

    Returns:
      The choice, its reason and the seconds per warm step of every candidate measured.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus or "auto" not in (settings.precision, settings.xla):
        choice = _by_rule(settings, gpus)
        _log.info("%s: %s (%s)", stage, choice.label, choice.reason)
        return choice
    key = {"stage": stage, "batch": _shapes(batch), "settings": [settings.precision, settings.xla], **_machine()}
    path = (cache or _default_cache()) / f"{fingerprint(key)[:16]}.json"
    with contextlib.suppress(ValueError, TypeError, KeyError):
        choice = Compute(**files.read_json(path)["choice"])
        _log.info("%s: %s (measured before: %s)", stage, choice.label, path.name)
        return choice
    choice = _by_measuring(build, batch, settings)
    row = "  ".join(f"{name} {1000 * s:.1f} ms" for name, s in choice.seconds.items())
    _log.info("%s: seconds per step | %s | -> %s (%s)", stage, row, choice.label, choice.reason)
    files.write_json(path, {"key": key, "choice": asdict(choice)})
    return choice


def commonest(batches: tf.data.Dataset) -> Any:
    """A batch of the shapes that most batches of a pass have: what stands for all of them in `choose_compute`."""
    shapes = collections.Counter(tuple(_shapes(batch)) for batch in batches)
    shape, _ = shapes.most_common(1)[0]
    return next(batch for batch in batches if tuple(_shapes(batch)) == shape)


def _by_rule(settings: Train, gpus: list) -> Compute:
    chosen, jit = settings.precision, settings.xla != "off"
    if "auto" not in (settings.precision, settings.xla):
        return Compute(chosen, settings.xla == "on")
    if chosen == "auto":
        chosen = _gpu_precision(gpus)
    return Compute(chosen, jit, "rule for a GPU")


def _gpu_precision(gpus: list) -> str:
    """The mixed precision that every GPU here computes fast: bfloat16 from capability 8, float16 from 7."""
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    lowest = min(capabilities)
    return "mixed_bfloat16" if lowest >= (8, 0) else "mixed_float16" if lowest >= (7, 0) else "float32"


def _by_measuring(build: Callable[[Compute], tf.keras.Model], batch: Any, settings: Train) -> Compute:
    precisions = ("float32", "mixed_bfloat16") if settings.precision == "auto" else (settings.precision,)
    plain = [Compute(p, settings.xla == "on") for p in precisions]
    seconds: dict[str, float] = {}
    best = _fastest(plain, build, batch, seconds)
    if settings.xla == "auto":
        best = _fastest([best, Compute(best.precision, True)], build, batch, seconds)
    return Compute(best.precision, best.jit_compile, "fastest of those measured", seconds)


def _fastest(candidates: list[Compute], build: Callable, batch: Any, seconds: dict[str, float]) -> Compute:
    """The first candidate, or a later one that is clearly faster; the first must work, the others may fail."""
    best = candidates[0]
    for candidate in candidates:
        if candidate.label in seconds:
            continue
        limit = 2 * seconds[best.label] if best.label in seconds else float("inf")
        try:
            seconds[candidate.label] = _seconds_per_step(build, candidate, batch, limit)
        except Exception as error:
            if candidate is candidates[0]:
                raise
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            _log.info("%s is not taken: %s", candidate.label, first_line)
            continue
        if seconds[candidate.label] < MIN_GAIN * seconds[best.label]:
            best = candidate
    return best


def _seconds_per_step(build: Callable, compute: Compute, batch: Any, limit: float) -> float:
    """Median seconds of a warm training step, over three steps or more; fewer only where it is hopelessly slow.

    Raises:
      ValueError: compiled for longer than MAX_COMPILE_SECONDS (XLA), or the loss is not finite.
    """
    with precision(compute):
        model = build(compute)
    step, batches = model.make_train_function(), iter(tf.data.Dataset.from_tensors(batch).repeat())
    times: list[float] = []
    try:
        first = _timed(step, batches)
        if compute.jit_compile and first > MAX_COMPILE_SECONDS:
            raise ValueError(f"expected XLA to compile within {MAX_COMPILE_SECONDS:.0f} s, got {first:.0f} s")
        while len(times) < WARM_STEPS or (
            len(times) < MAX_STEPS and sum(times) < MAX_SECONDS and statistics.median(times) < limit
        ):
            times.append(_timed(step, batches))
            if times[-1] > HOPELESS * limit:
                break
    finally:
        del model, step, batches
        gc.collect()
    return statistics.median(times)


def _timed(step: Callable, batches: Iterator) -> float:
    begin = time.perf_counter()
    loss = float(tf.reduce_mean(tf.cast(step(batches)["loss"], tf.float32)))  # waits for the step
    if loss != loss or abs(loss) == float("inf"):
        raise ValueError(f"expected a finite loss, got {loss}")
    return time.perf_counter() - begin


def _shapes(batch: Any) -> list[str]:
    tensors = [tf.convert_to_tensor(x) for x in tf.nest.flatten(batch)]
    return [f"{x.dtype.name}{list(x.shape)}" for x in tensors]


def _machine() -> dict[str, str]:
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return {"cpu": name, "cores": str(os.cpu_count()), "threads": str(threads), "tensorflow": tf.__version__}


def _default_cache() -> Path:
    return Path(os.environ.get("TFREC_LLM_CACHE") or Path.home() / ".cache" / "tfrec_llm").expanduser() / "compute"
