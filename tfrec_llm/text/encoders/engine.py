"""Token ids -> vectors, as fast as this machine can: TensorFlow everywhere, OpenVINO on Intel processors.

OpenVINO opens the encoder's numeric SavedModel (ids, mask -> [B, D]) as it is, so what is exported stays plain
TensorFlow. `bulk` sends many texts through `stream`; an application server asks `single`.
"""

import logging
import platform
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfrec_llm.text.encoders import eight_bits
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.numeric import Numeric, saved
from tfrec_llm.training.strategy import available_cores

try:
    import openvino
except ImportError:  # an optional wheel: TensorFlow does the same
    openvino = None

log = logging.getLogger(__name__)
NAMES = ("auto", "tensorflow", "openvino")
MUCH_PADDING = 0.15  # share of a batch; with less the gathering costs more than it saves
FREEZE_BYTES = 1 << 30  # weights of a graph in one piece; protobuf ends at 2 GB
Batch = tuple[np.ndarray, np.ndarray]  # ids [B, L] int32, mask [B, L] bool


class Engine(Protocol):
    """Tokenized texts -> vectors of unit length."""

    name: str

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """ids [B, L] int32, mask [B, L] bool -> [B, D] float32, as soon as can be."""

    def single(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """One text: ids [L], mask [L] -> [D]; may be called from several threads."""

    def stream(self, batches: Iterable[Batch]) -> Iterator[np.ndarray]:
        """The vectors of many batches, in their order; what counts is texts per second."""


class TensorFlowEngine:
    """The encoder's graph, its weights frozen where they are small enough: oneDNN then lays them out once.

    Batches with much padding go through a second graph, traced when the first of them comes, whose dense layers see
    the tokens alone.

    Args:
      encoder: the encoder; later changes of its weights are not seen.
      dtype: what the products are computed in.
    """

    name = "tensorflow"

    def __init__(self, encoder: TextEncoder, dtype: tf.DType):
        self._encoder, self._dtype = encoder, dtype
        self._graphs = {False: _graph(encoder, dtype, False)}

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """As `Engine.__call__`."""
        packed = mask.size > 0 and mask.mean() < 1 - MUCH_PADDING
        if packed not in self._graphs:
            self._graphs[packed] = _graph(self._encoder, self._dtype, packed)
        answer = self._graphs[packed](ids=tf.constant(ids, tf.int32), mask=tf.constant(mask, tf.bool))
        return tf.nest.flatten(answer)[0].numpy()

    def single(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """As `Engine.single`."""
        return self(ids[None], mask[None])[0]

    def stream(self, batches: Iterable[Batch]) -> Iterator[np.ndarray]:
        """As `Engine.stream`."""
        return (self(ids, mask) for ids, mask in batches)


def _graph(encoder: TextEncoder, dtype: tf.DType, packed: bool) -> Any:
    """The encoder as one function of ids and mask; `packed` = no padding in its dense layers."""
    module, bert = Numeric(encoder, dtype), getattr(encoder, "bert", None)
    before = getattr(bert, "packed", None)
    if before is None:  # a transformer that cannot
        traced = module.encode.get_concrete_function()
    else:
        bert.packed = packed
        try:
            traced = module.encode.get_concrete_function()
        finally:
            bert.packed = before
    size = sum(v.shape.num_elements() * v.dtype.size for v in traced.graph.variables)
    if size > FREEZE_BYTES:
        traced.keeps = module  # a traced function does not keep its variables alive
        return traced
    return convert_variables_to_constants_v2(traced)


class OpenVINOEngine:
    """The same graph read by OpenVINO: one request on all threads for answers now, several at once for a stream.

    Args:
      folder: a SavedModel with inputs ids and mask and the output embedding.
      dtype: bfloat16 where the processor has it, else float32 is used.
      threads: 0 = the cores that this process may use.
      rounded: the weights are kept in eight bits, and what they are multiplied with is rounded to as many.

    Raises:
      RuntimeError: OpenVINO cannot read the model.
    """

    name = "openvino"

    def __init__(self, folder: Path, dtype: tf.DType, threads: int = 0, rounded: bool = False):
        self._device = openvino.Core()
        half = dtype == tf.bfloat16 and "BF16" in self._device.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": threads or available_cores(),
            "ENABLE_CPU_PINNING": False,  # a pinned thread waits for whoever shares its core
        }
        self._model = self._device.read_model(folder)
        if rounded:
            eight_bits.round_weights(self._model)
            self._settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = eight_bits.GROUP
        self._now, self._many = self._compile("LATENCY"), None
        self._own = threading.local()

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """As `Engine.__call__`."""
        if not hasattr(self._own, "request"):
            self._own.request = self._now.create_infer_request()
        self._own.request.infer(_inputs(ids, mask), share_inputs=True)
        return _answer(self._own.request)

    def single(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """As `Engine.single`."""
        return self(ids[None], mask[None])[0]

    def stream(self, batches: Iterable[Batch]) -> Iterator[np.ndarray]:
        """As `Engine.stream`."""
        self._many = self._many or self._compile("THROUGHPUT")
        count = self._many.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        free = [self._many.create_infer_request() for _ in range(count)]
        running: deque[tuple[Any, dict]] = deque()
        for ids, mask in batches:
            if not free:
                request, _ = running.popleft()
                yield _wait(request)
                free.append(request)
            request, inputs = free.pop(), _inputs(ids, mask)
            request.start_async(inputs, share_inputs=True)
            running.append((request, inputs))  # shared inputs must outlive the run
        while running:
            yield _wait(running.popleft()[0])

    def _compile(self, hint: str) -> Any:
        return self._device.compile_model(self._model, "CPU", {**self._settings, "PERFORMANCE_HINT": hint})


def _inputs(ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {"ids": np.ascontiguousarray(ids, np.int32), "mask": np.ascontiguousarray(mask, np.bool_)}


def _answer(request: Any) -> np.ndarray:
    return request.get_output_tensor(0).data.copy()  # the request writes into the same place next time


def _wait(request: Any) -> np.ndarray:
    request.wait()
    return _answer(request)


def resolve(name: str = "auto", one_by_one: bool = False) -> str:
    """The engine that a setting means on this machine.

    Args:
      name: one of `NAMES`; "auto" is OpenVINO where the wheel is installed, on an Intel processor and without a GPU; on
        AMD's TensorFlow encodes as many texts per second.
      one_by_one: single texts are to be answered fast: "auto" is OpenVINO on AMD's processors too, which took half of
        TensorFlow's time there.

    Raises:
      ValueError: no such engine, or OpenVINO is asked for and not installed.
    """
    if name not in NAMES:
        raise ValueError(f"text.engine: expected one of {', '.join(NAMES)}, got {name!r}.")
    if name == "openvino" and openvino is None:
        raise ValueError(
            "text.engine: expected the package openvino, got none; run `pip install 'openvino>=2026.4.1'` or "
            'say text.engine = "tensorflow".'
        )
    if name != "auto":
        return name
    suits = (one_by_one or _intel()) and not tf.config.list_physical_devices("GPU")
    return "openvino" if openvino is not None and suits else "tensorflow"


def _intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return "intel" in platform.processor().lower()


def make_engine(
    encoder: TextEncoder,
    name: str = "auto",
    dtype: tf.DType = tf.float32,
    threads: int = 0,
    one_by_one: bool = False,
    rounded: bool = False,
) -> Engine:
    """An engine for an encoder as it is now.

    Args:
      encoder: the encoder; later changes of its weights are not seen.
      name: one of `NAMES`. Where OpenVINO cannot read the encoder, TensorFlow does it, with one warning.
      dtype: what the products are computed in.
      threads: of OpenVINO; 0 = those that TensorFlow was given, else the cores of this process.
      one_by_one: as of `resolve`.
      rounded: OpenVINO keeps the weights in eight bits and computes the rest in float32, for single texts: 2.5 ms in
        place of 3.5 in bfloat16 (e5_small, ten tokens). Not good enough for every encoder, see `single`. TensorFlow
        goes by `dtype`.

    Raises:
      ValueError: as of `resolve`.
    """
    if resolve(name, one_by_one) == "tensorflow":
        return TensorFlowEngine(encoder, dtype)
    threads = threads or tf.config.threading.get_intra_op_parallelism_threads()
    for keep in (True, False) if one_by_one else (False,):  # what was kept may be damaged
        try:
            with saved(encoder, keep) as folder:
                return OpenVINOEngine(folder, tf.float32 if rounded else dtype, threads, rounded)
        except (RuntimeError, tf.errors.OpError, AssertionError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    log.warning(
        'OpenVINO cannot read this encoder (%s): TensorFlow encodes instead; text.engine = "tensorflow" '
        "says so from the start.",
        reason[:200],
    )
    return TensorFlowEngine(encoder, dtype)
