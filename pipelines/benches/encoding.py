"""Encoding texts of mixed length and single utterances beside sentence-transformers and ONNX Runtime, same weights.

Text in, vector out on both sides: tokenizer included, sorted by length, same batch size and threads.
"""

import csv
import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.benches import environment
from pipelines.benches.models import WRITERS
from pipelines.benches.rounds import Settings, paired
from pipelines.benches.server import Server
from tfrec_llm.text import TextEncoder
from tfrec_llm.text.encoders import bulk
from tfrec_llm.text.encoders.engine import Engine, make_engine, openvino, resolve
from tfrec_llm.text.encoders.registry import ENCODERS
from tfrec_llm.text.encoders.single import PROBES, least_cosine, make_single
from tfrec_llm.training.strategy import available_cores

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "labels.csv"
LONGEST = 6  # sentences in a text
SINGLES = 30  # utterances asked one by one in a round
LONGEST_PROBE = 32  # tokens
TRIAL = 128  # texts that choose the engine
LEAST_COSINE = 0.99  # between ours and a peer: below it they do not have the same weights
PEERS = {  # key of bench.json -> (peer, its precision, our engine; "" = the best here)
    "encode.sentence_transformers_bf16": ("sentence_transformers", "bfloat16", ""),
    "encode.sentence_transformers_fp32": ("sentence_transformers", "float32", ""),
    "encode.onnxruntime": ("onnxruntime", "float32", ""),
    "encode.tensorflow_only": ("sentence_transformers", "bfloat16", "tensorflow"),
}


class Ours:
    """Our encoder behind one engine.

    Args:
      encoder: the encoder.
      engine: made of it, for many texts.
      single: made of it, for one text at a time.
      max_tokens: texts are cut after so many.
      batch_size: texts encoded together.
      precision: of the engines, to be told beside the figures.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        engine: Engine,
        single: Engine,
        max_tokens: int,
        batch_size: int,
        precision: str = "",
    ):
        self._engine, self._single, self.batch_size, self.precision = engine, single, batch_size, precision
        self.engine, self.single_engine = engine.name, single.name
        self._tokens = bulk.tokenizing(encoder, "query", max_tokens)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """[n, D]."""
        tokens = self._tokens(texts)
        pieces = list(bulk.encode_pieces(self._engine, tokens, self.batch_size, "bench"))
        rows, values = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return values[np.argsort(rows)]

    def seconds(self, texts: Sequence[str]) -> float:
        """All at once."""
        begin = time.perf_counter()
        self.vectors(texts)
        return time.perf_counter() - begin

    def each(self, texts: Sequence[str]) -> list[float]:
        """Seconds of one text after the other."""
        times = []
        for text in texts:
            begin = time.perf_counter()
            self.alone(text)
            times.append(time.perf_counter() - begin)
        return times

    def alone(self, text: str) -> np.ndarray:
        """[D] the vector of a single text."""
        (row,) = self._tokens([text])
        return self._single.single(row, np.ones(len(row), bool))


class Peer:
    """A server in `.venv-bench`, the same verbs.

    Args:
      command: starts it.
      load: what it opens.
      prefix: put before every text.
      batch_size: texts encoded together.
    """

    def __init__(self, command: Sequence[str], load: Mapping[str, Any], prefix: str, batch_size: int):
        self._server, self._prefix, self._batch_size = Server(command), prefix, batch_size
        self.versions = self._server.ask({"do": "load", **load})

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """[n, D]."""
        return np.array(self._send("vectors", texts)["vectors"], np.float32)

    def seconds(self, texts: Sequence[str]) -> float:
        """All at once."""
        return self._send("encode", texts)["seconds"]

    def each(self, texts: Sequence[str]) -> list[float]:
        """Seconds of one text after the other."""
        return self._send("each", texts)["seconds"]

    def close(self) -> None:
        """Ends the server."""
        self._server.close()

    def _send(self, what: str, texts: Sequence[str]) -> dict[str, Any]:
        texts = [self._prefix + text for text in texts]
        return self._server.ask({"do": what, "texts": texts, "batch": self._batch_size})


def encode(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every peer for every encoder -> key and entry of bench.json; the first encoder's keys have no segment.

    Args:
      settings: `config.text` says lengths, batch size, engine; `encoders` are names in `ENCODERS`.
    """
    python = environment.python()
    for name in settings.encoders:
        segment = "" if name == settings.encoders[0] else f"|{name}"
        own_settings, build = ENCODERS[name]
        encoder = build(own_settings())
        best = fastest(encoder, settings)
        with tempfile.TemporaryDirectory(prefix="tfrec_llm-bench-") as folder:
            WRITERS[name](Path(folder))
            for key, (peer, dtype, engine) in PEERS.items():
                start = _starter(python, peer, dtype, folder, encoder, settings)
                ours = _ours(encoder, engine or best, engine or settings.config.text.engine, settings)
                entry = _beside(f"{key}{segment}", ours, start, settings)
                entry["setup"] |= {"encoder": name, "peer": peer, "peer_dtype": dtype}
                yield key + segment, entry


def fastest(encoder: TextEncoder, settings: Settings) -> str:
    """The engine with most texts per second here, of one run after one that does not count; the config's, if it says.

    Args:
      encoder: the encoder.
      settings: as of `encode`.
    """
    if settings.config.text.engine != "auto":
        return settings.config.text.engine
    texts = mixed_texts(TRIAL, settings.config.seed + 2)
    seconds = {}
    for name in dict.fromkeys(("tensorflow", resolve("openvino") if openvino else "tensorflow")):
        ours = _ours(encoder, name, name, settings)
        ours.seconds(texts)
        seconds[name] = ours.seconds(texts)
    print("engines, seconds for", TRIAL, "texts:", {name: round(value, 2) for name, value in seconds.items()})
    return min(seconds, key=seconds.get)


def _ours(encoder: TextEncoder, engine: str, single: str, settings: Settings) -> Ours:
    text = settings.config.text
    precision = bulk.fast_precision() if text.precision == "auto" else text.precision
    many = make_engine(encoder, engine, tf.as_dtype(precision), _threads(settings))
    cosine = functools.partial(_least_cosine, encoder) if text.precision == "auto" else None  # as the server does
    one = make_single(encoder, single, tf.as_dtype(precision), _threads(settings), cosine)
    return Ours(encoder, many, one, text.max_tokens, text.batch_size, precision)


def _least_cosine(encoder: TextEncoder, engine: Engine) -> float:
    ids, mask = encoder.tokenize(tf.constant(PROBES), "query", LONGEST_PROBE)
    return least_cosine(engine(ids.numpy(), mask.numpy()), encoder.encode(ids, mask).numpy())


def _starter(
    python: Path, peer: str, dtype: str, folder: str, encoder: TextEncoder, settings: Settings
) -> Callable[[], Peer]:
    text = settings.config.text
    load = {
        "peer": peer,
        "dtype": dtype,
        "folder": folder,
        "threads": _threads(settings),
        "max_tokens": text.max_tokens,
    }
    command = [str(python), str(Path(__file__).with_name("peer.py"))]
    return lambda: Peer(command, load, encoder.prefix("query"), text.batch_size)


def _beside(label: str, ours: Ours, start: Callable[[], Any], settings: Settings) -> dict[str, Any]:
    """One peer: texts in bulk, then one by one.

    Raises:
      ValueError: the two give different vectors.
    """
    texts = mixed_texts(settings.texts, settings.config.seed)
    peer = start()
    try:
        theirs, singles = peer.vectors(texts[:32]), np.stack([ours.alone(text) for text in texts[:32]])
        cosine, single_cosine = (
            float((vectors * theirs).sum(1).min()) for vectors in (ours.vectors(texts[:32]), singles)
        )
        if min(cosine, single_cosine) < LEAST_COSINE:
            raise ValueError(
                f"{label}: expected the same vectors, got cosines of {cosine:.3f} and {single_cosine:.3f} one by one; "
                "weights differ."
            )
        setup = {"threads": _threads(settings), "dtype": ours.precision, "batch": ours.batch_size, "texts": len(texts)}
        setup |= {"engine": ours.engine, "single_engine": ours.single_engine}
        setup |= {"least_cosine": round(cosine, 5), "least_cosine_single": round(single_cosine, 5), **peer.versions}
        rate = lambda side: lambda: len(texts) / side.seconds(texts)  # noqa: E731
        measured = paired(label, rate(ours), rate(peer), settings.rounds, "texts/s", setup)
        return measured | {"ms": _alone(ours, peer, settings)}
    finally:
        peer.close()


def _alone(ours: Any, peer: Any, settings: Settings) -> dict[str, float]:
    """Median milliseconds of a single utterance."""
    one = mixed_texts(SINGLES, settings.config.seed + 1, longest=1)
    for side in (ours, peer):
        side.each(one[:3])
    times = [(ours.each(one), peer.each(one)) for _ in range(settings.rounds)]
    return {
        name: 1e3 * median(seconds for pair in times for seconds in pair[place])
        for place, name in enumerate(("ours", "peer"))
    }


def mixed_texts(count: int, seed: int, longest: int = LONGEST) -> list[str]:
    """Texts of 1 to `longest` sentences of our own sample, English and Chinese.

    Args:
      count: of texts.
      seed: of the choice.
      longest: sentences in a text at most.
    """
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        sentences = [row["text"] for row in csv.DictReader(file)]
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(sentences, 1 + draw.integers(longest))) for _ in range(count)]


def _threads(settings: Settings) -> int:
    return settings.config.train.threads or available_cores()
