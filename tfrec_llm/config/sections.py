"""The sections of a run: every setting with its default, help text and range."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfrec_llm.config.learn import Learn
from tfrec_llm.config.reader import Component, ConfigError, apply_override, build, setting
from tfrec_llm.config.serving import Serving
from tfrec_llm.config.text import Text


@dataclass(frozen=True)
class Data:
    """Which events, which items, which protocol."""

    source: str = setting("movielens_1m", "a name in tfrec_llm.data.DATASETS, or 'files'")
    domain: str = setting("video", "a name in tfrec_llm/data/domains/, or a path to a TOML")
    protocol: str = setting(
        "last_item",
        "last_item: each user's last item; first_basket: first basket of the last test_days",
        choices=("last_item", "first_basket"),
    )
    test_days: int = setting(28, "first_basket: length in days of the test and of the validation period", low=1)
    min_item_count: int = setting(5, "items with fewer events are dropped", low=1)
    min_user_count: int = setting(3, "last_item: users with fewer events are only trained on, never asked", low=1)
    max_users: int = setting(0, "keep so many users, chosen by a hash of the id; 0 keeps all", low=0)
    held_out_items: float = setting(
        0.0, "share of items, chosen by a hash of the id, that no training sees: they are judged apart", low=0, high=0.9
    )
    train_users: float = setting(
        1.0, "share of users, chosen by a hash of the id, that are learnt from; the test asks all", low=1e-4, high=1
    )
    shuffle_ties: bool = setting(False, "break ties in time by the seed instead of the file's order")
    utterances_share: float = setting(0.5, "share of half B's training rows that carry an utterance", low=0, high=1)
    interactions: str = setting("", "files: path to CSV or Parquet of interactions")
    items: str = setting("", "files: path to CSV or Parquet of items")
    users: str = setting("", "files: path to CSV or Parquet of users (optional)")
    utterances: str = setting("", "files: path to CSV or Parquet of utterances (optional)")
    columns: Mapping[str, str] = setting({}, "files: our column name -> the name in the file")
    synthetic_users: int = setting(600, "synthetic: number of users", low=1)
    synthetic_items: int = setting(120, "synthetic: number of items", low=2)
    synthetic_events: int = setting(30, "synthetic: events per user", low=1)
    predictability: float = setting(0.8, "synthetic: probability that the chain is followed", low=0, high=1)


@dataclass(frozen=True)
class Train:
    """What the training of every stage shares."""

    precision: str = setting(
        "auto",
        "auto measures on CPU and takes mixed_bfloat16 or mixed_float16 on a GPU that has it",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    xla: str = setting("auto", "auto measures on CPU and is on for a GPU", choices=("auto", "on", "off"))
    strategy: str = setting(
        "auto", "auto mirrors over several GPUs", choices=("auto", "none", "mirrored", "multi_worker_mirrored")
    )
    refit: bool = setting(False, "make eval on the test: train on the validation events too, a row system_refit")
    threads: int = setting(0, "intra-op threads; 0 = number of cores", low=0)
    lazy_rows: int = setting(
        100_000, "tables of items with more rows are updated only where a step touched them (lazy Adam)", low=1
    )
    init_from: str = setting(
        "", "a finished run whose weights are the start, item tables excepted: text heads, behaviour, towers"
    )


@dataclass(frozen=True)
class Behaviour:
    """What the user will do next."""

    model: Component = setting(Component("lstm"), "a name in tfrec_llm.behaviour.MODELS")
    ensemble: tuple[Component, ...] = setting(
        (),
        "further models, each with a seed of its own, whose logits are averaged with the model's: names, or tables "
        "with settings; each is trained, and asked in every request",
    )
    max_history: int = setting(200, "events per training sequence; longer ones are cut into pieces", low=2)
    full_softmax_max_items: int = setting(20_000, "above, the softmax is sampled and corrected", low=1)
    num_sampled: int = setting(2048, "negatives of the sampled softmax", low=1)
    batch_size: int = setting(32, "sequences per step", low=1)
    epochs: int = setting(10, "passes at most", low=1)
    patience: int = setting(3, "passes without a better half A before it stops; counts after a third of them", low=1)
    min_steps: int = setting(
        400, "small data gets up to five times the passes (and patience), until they make so many steps", low=0
    )
    max_minutes: float = setting(0.0, "stop after the pass that goes beyond it; 0 = no limit", low=0)
    learning_rate: float = setting(4e-3, "peak step size", low=1e-8, high=10)
    weight_average: float = setting(0.998, "decay of the moving average of the weights; 0 = off", low=0, high=0.99999)


@dataclass(frozen=True)
class Retrieval:
    """Two towers, blend, index."""

    model: Component = setting(Component("two_towers"), "a name in tfrec_llm.retrieval.MODELS")
    batch_size: int = setting(1024, "pairs per step", low=2)
    epochs: int = setting(4, "passes at most", low=1)
    patience: int = setting(2, "passes without a better half A before it stops; counts after a third of them", low=1)
    min_steps: int = setting(
        1500, "small data gets up to five times the passes (and patience), until they make so many steps", low=0
    )
    max_minutes: float = setting(0.0, "stop after the pass that goes beyond it; 0 = no limit", low=0)
    learning_rate: float = setting(2e-3, "step size", low=1e-8, high=10)
    weight_average: float = setting(0.995, "decay of the moving average of the weights; 0 = off", low=0, high=0.99999)
    candidates: int = setting(200, "K, candidates handed to the ranker", low=1)
    index: Component = setting(
        Component("exact"), "a name in tfrec_llm.retrieval.INDEXES, for evaluation; exact alone is exported"
    )
    item_item: bool = setting(
        True, "neighbours in closed form (EASE) are sources too: of the newest items, and of the whole history"
    )
    item_item_l2: tuple[float, ...] = setting(
        (20.0, 100.0, 500.0, 2500.0), "item_item: penalties to choose from", low=1
    )
    item_item_max_items: int = setting(
        10_000, "item_item: the commonest items, whose matrix is inverted; time grows with the cube", low=2
    )
    item_item_tail: int = setting(100_000, "item_item: the next commonest, regressed on those", low=0)
    item_item_neighbours: int = setting(100, "item_item: strongest neighbours kept of each item", low=1)
    explain: int = setting(20, "last history items that `because` leaves out one by one", low=1)


@dataclass(frozen=True)
class Modalities:
    """What fusion and ranker know of items and users beside events and texts; all of it is off by default."""

    columns: Mapping[str, str] = setting(
        {}, "image, audio or attributes -> the column of data.items with ready vectors (numbers, or a list in Parquet)"
    )
    network: str = setting("", "encodes the files of the column image_path: a name in tfrec_llm.fusion.NETWORKS")
    weights: str = setting("", "network: path to its Keras weights without the top layer (.h5 or .keras)")
    image_size: int = setting(224, "network: pixels of each side", low=32, high=1024)
    batch_size: int = setting(32, "network: images encoded together", low=1)
    item_attributes: bool = setting(False, "attributes and price of items are a modality too")
    dim: int = setting(32, "an item's vectors are reduced to so many numbers", low=1)
    min_users: int = setting(5, "values of user attributes that fewer training users share are unknown", low=1)


@dataclass(frozen=True)
class Fusion:
    """Signals of all modalities -> context."""

    layer: Component = setting(Component("concatenation"), "a name in tfrec_llm.fusion.FUSIONS")
    epochs: int = setting(30, "passes at most over half B", low=1)
    patience: int = setting(4, "passes without a better stopping tenth before it stops", low=1)
    batch_size: int = setting(128, "rows per step", low=1)
    learning_rate: float = setting(1e-3, "step size", low=1e-8, high=10)


@dataclass(frozen=True)
class Ranking:
    """What to show."""

    agent: Component = setting(Component("session_values"), "a name in tfrec_llm.ranking.AGENTS")
    epochs: int = setting(20, "passes at most over half B", low=1)
    patience: int = setting(4, "passes without a better stopping tenth before it stops", low=1)
    batch_size: int = setting(256, "rows per step", low=1)
    slate: int = setting(10, "n, items shown", low=1)
    exploration_floor: float = setting(0.02, "share of uniform exploration over the first explore_top", low=0, high=1)
    explore_top: int = setting(50, "candidates that the floor explores", low=1)
    replay_exploration: float = setting(0.3, "the floor's share while the agent replays logged rows", low=0, high=1)
    simulate_sessions: int = setting(10, "rounds of sessions that it practises with the simulated trainer", low=0)
    session_users: int = setting(128, "users of such a round", low=1)
    session_tolerance: float = setting(0.002, "NDCG of the stopping rows that practice may cost", low=0, high=1)


@dataclass(frozen=True)
class Evaluate:
    """How it is judged."""

    split: str = setting("validation", "validation or test", choices=("validation", "test"))
    k: int = setting(10, "cut-off of hit rate, NDCG and MRR", low=1)
    recall_at: int = setting(100, "cut-off of recall", low=1)
    bootstrap: int = setting(1000, "resamples of an interval", low=10)
    batch_size: int = setting(256, "queries per step", low=1)
    knn_neighbours: int = setting(50, "item_knn: most similar items kept per item", low=1)
    knn_shrink: float = setting(10.0, "item_knn: added to the cosine's denominator, holds rare items back", low=0)
    mf_factors: int = setting(128, "matrix_factorisation: dimensions kept", low=1)
    text_knn_centre: bool = setting(True, "text_knn: subtract the mean of all items' text vectors first")
    text_knn_decay: float = setting(5.0, "text_knn_recency: items after which a weight has fallen to 1/e", low=0.01)
    exported: bool = setting(
        False, "ask the served export, too, in strings as a client does: the row exported, a minute per 6,000 queries"
    )
    rivals: tuple[Component, ...] = setting(
        (), "behaviour models trained beside the served one, rows baseline.<name>: names, or tables with settings"
    )
    ease_max_items: int = setting(20_000, "above, the EASE rows are absent and the log says why", low=0)
    ease_l2: float = setting(500.0, "EASE: ridge penalty", low=0)
    ease_decay: float = setting(5.0, "EASE with recency: items after which a weight has fallen to 1/e", low=0.01)


@dataclass(frozen=True)
class Gate:
    """What a new policy must show on logged decisions before it replaces the one that serves."""

    share: float = setting(
        0.3, "of the decisions, by a hash of their ids: kept from training, judged on", low=0.01, high=0.99
    )
    margin: float = setting(
        0.02, "routine: of the incumbent's value, that the lower bound may lie below it", low=0, high=1
    )
    harm_margin: float = setting(
        0.1, "of the incumbent's harm, that a safety metric may grow by where it is not sure that it grows", low=0
    )
    min_effective_sample: float = setting(500.0, "fewer effective decisions are not enough evidence", low=1)
    estimator: Component = setting(Component("sndr"), "a name in tfrec_llm.evaluation.policies.ESTIMATORS")
    reward_model: Component = setting(Component("ridge"), "a name in tfrec_llm.evaluation.policies.REWARD_MODELS")
    folds: int = setting(3, "of the cross-fitted reward model", low=2)
    bootstrap: int = setting(1000, "resamples of an interval", low=10)


@dataclass(frozen=True)
class Export:
    """The SavedModel."""

    max_history: int = setting(200, "T, width of history", low=1)
    max_attributes: int = setting(8, "A, width of attributes", low=1)
    max_exclude: int = setting(50, "X, width of exclude", low=1)


@dataclass(frozen=True)
class Simulate:
    """Small worlds with a known optimum, and sessions of a finished run with the simulated judge."""

    worlds: tuple[str, ...] = setting(("linear",), "names in tfrec_llm.ranking.WORLDS")
    users: int = setting(256, "users per round", low=1)
    rounds: int = setting(400, "rounds", low=1)
    crowd_sessions: int = setting(
        0, "sessions of users with shifted tastes in which the finished run learns; 0 = none", low=0
    )
    crowd_shift: float = setting(1.0, "standard deviation of a category's shift, in log-odds of liking", low=0)
    server: str = setting(
        "",
        "URL of the server of this run (make serve) that simulated users ask; empty = none",
    )
    drive_sessions: int = setting(640, "server: sessions of simulated users with shifted tastes", low=1, high=100_000)
    session_users: int = setting(400, "users whose sessions with a finished run are judged; 0 = none", low=0)


@dataclass(frozen=True)
class Config:
    """One run."""

    seed: int = setting(1, "the one seed", low=0, high=2**32 - 1)
    data: Data = field(default_factory=Data)
    train: Train = field(default_factory=Train)
    text: Text = field(default_factory=Text)
    behaviour: Behaviour = field(default_factory=Behaviour)
    retrieval: Retrieval = field(default_factory=Retrieval)
    modalities: Modalities = field(default_factory=Modalities)
    fusion: Fusion = field(default_factory=Fusion)
    ranking: Ranking = field(default_factory=Ranking)
    evaluate: Evaluate = field(default_factory=Evaluate)
    gate: Gate = field(default_factory=Gate)
    export: Export = field(default_factory=Export)
    serving: Serving = field(default_factory=Serving)
    learn: Learn = field(default_factory=Learn)
    simulate: Simulate = field(default_factory=Simulate)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a config, strictly.

    Args:
      path: a TOML file.
      overrides: `section.key=value` strings, the value in TOML; a bare word counts as a string.

    Raises:
      ConfigError: no such file, no TOML, or a key, type or range that is not allowed.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config; give a path to a TOML or a name in pipelines/configs/.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML in UTF-8, got {error}.") from error
    for override in overrides:
        apply_override(table, override)
    return build(Config, table, where=str(path))
