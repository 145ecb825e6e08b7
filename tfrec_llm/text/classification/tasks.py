"""Labelled corpora -> what each head learns: texts, targets and splits in one label space."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tfrec_llm.config import Text
from tfrec_llm.data.texts import SENTIMENTS, every_label_learnt
from tfrec_llm.types import Domain, Utterances

log = logging.getLogger(__name__)
DOMAIN = "domain"  # corpus made from the domain's templates
FILES = "files"  # corpus of the user's own labels
SERVED = "_served"  # after a corpus' name: its rows that train the served heads
OWN = FILES + SERVED
PSEUDO = "pseudo"  # corpus of the rows that a head has labelled itself
TASK_LABELS = ("intent", "sentiment", "emotion")
FEELS = {"joy": "positive", "love": "positive", "neutral": "neutral"} | dict.fromkeys(
    ("anger", "sadness", "fear", "disgust"), "negative"
)  # surprise may be either
SPELLINGS = {  # of a user's sentiments, case folded: what is served -> how it may be written
    "negative": ("negative", "neg", "负面", "消极", "负向", "差评"),
    "neutral": ("neutral", "neu", "中性", "中立", "中评"),
    "positive": ("positive", "pos", "正面", "积极", "正向", "好评"),
}
Served = Mapping[str, tuple[str, ...]]  # label -> names that the served head knows


@dataclass(frozen=True)
class Task:
    """One head's rows."""

    name: str
    label: str  # "intent", "sentiment" or "emotion"
    labels: tuple[str, ...]
    texts: np.ndarray  # [R] str
    targets: np.ndarray  # [R] int32, or [R, labels] bool where multi-label
    split: np.ndarray  # [R] str: "train", "validation" or "test"
    corpus: np.ndarray  # [R] str

    @property
    def multi_label(self) -> bool:
        """Several labels may hold at once."""
        return self.targets.ndim == 2


def shared_labels(label: str, domain: Domain) -> tuple[str, ...]:
    """The labels of the head that is served: the domain's intents and emotions, three sentiments."""
    return {"intent": domain.intents, "sentiment": SENTIMENTS, "emotion": domain.emotions}[label]


def make_tasks(corpora: Sequence[Utterances], domain: Domain, settings: Text, seed: int) -> list[Task]:
    """What is learnt from the corpora.

    The domain's own sentences give "intent" and "emotion" in the domain's order of labels, and sentiments by their
    emotions; every corpus with negative, neutral or positive sentiments goes into "sentiment", every one whose emotions
    are all of the domain's into "emotion"; a corpus with other labels gets heads of its own. Rows whose intent the
    domain's `intent_map` translates train "intent" too, as corpus "<corpus>_served", at most `domain_rows` of them.

    The user's own file always has heads of its own, "<label>_files". Its rows train the served heads too, as corpus
    "files_served": intents and emotions that the domain does not know, in whatever case, are added behind the domain's,
    sentiments count where they are spelt as usual (`SPELLINGS`).

    Args:
      corpora: labelled texts, the domain's among them as corpus "domain".
      domain: whose labels "intent" and "emotion" have.
      settings: how many training rows of a corpus are kept; of test rows and of validation rows `max_test_rows`, of the
        user's own file all.
      seed: which rows are kept, and which of the training rows validate where a corpus has no validation rows.
    """
    parts: dict[str, list[Task]] = {}
    served = served_labels(corpora, domain)
    for number, corpus in enumerate(corpora):
        split = _with_validation(corpus.split, np.random.default_rng([seed, number, 0]))
        if corpus.corpus == FILES:  # what was just held out may be all that a label has
            split, _ = every_label_learnt(replace(corpus, split=split), corpus.split == "train")
        keep = _sample(split, *_limits(corpus.corpus, settings), np.random.default_rng([seed, number, 1]))
        for task in (*_parts(corpus, domain, split, keep, served), *_copies(corpus, domain, split, keep, served)):
            limited = _limited(task, settings.domain_rows, np.random.default_rng([seed, number, 2]))
            parts.setdefault(task.name, []).append(limited)
    return [_joined(tasks) for tasks in parts.values()]


def served_labels(corpora: Sequence[Utterances], domain: Domain) -> Served:
    """The labels of each served head: the domain's, and behind them the intents and emotions of the user's own file.

    Case does not count: a label of the domain's is the domain's, however the file writes it.
    """
    served = {label: shared_labels(label, domain) for label in TASK_LABELS}
    for label in ("intent", "emotion"):
        added = [name for corpus in corpora if corpus.corpus == FILES for name in corpus.labels.get(label, ())]
        known = {name.casefold() for name in served[label]}
        served[label] += tuple(name for name in dict.fromkeys(added) if name.casefold() not in known)
    return served


def _copies(corpus: Utterances, domain: Domain, split: np.ndarray, keep: np.ndarray, served: Served) -> Iterator[Task]:
    """The rows of another corpus whose label means one of the served ones; several at once mean none."""
    for label in TASK_LABELS:
        names, own = tuple(corpus.labels.get(label, ())), getattr(corpus, label)
        meaning = _meaning(corpus.corpus, label, names, domain, served)
        if corpus.corpus == DOMAIN or own is None or not meaning:
            continue
        places = [served[label].index(meaning[name]) if name in meaning else -1 for name in names]
        if own.ndim == 2:
            own = np.where(own.sum(axis=1) == 1, own.argmax(axis=1), -1)
        targets = np.array([*places, -1], np.int32)[own]
        rows = keep[targets[keep] >= 0]
        if len(rows):
            place = np.full(len(rows), corpus.corpus + SERVED)
            yield Task(label, label, served[label], corpus.texts[rows], targets[rows], split[rows], place)


def _meaning(corpus: str, label: str, names: Sequence[str], domain: Domain, served: Served) -> Mapping[str, str]:
    """Which served label each label of a corpus means; those that mean none are absent."""
    if corpus != FILES:
        return domain.intent_map.get(corpus, {}) if label == "intent" else {}
    if label != "sentiment":
        ours = {name.casefold(): name for name in served[label]}
        return {name: ours[name.casefold()] for name in names}
    spelt = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
    meaning = {name: spelt[name.casefold()] for name in names if name.casefold() in spelt}
    if unknown := [name for name in names if name not in meaning]:
        log.warning(
            "text: the sentiments %s of your file are learnt (head sentiment_files) but not served; rename them to %s "
            "in the file to have them served.",
            ", ".join(map(repr, unknown)),
            ", ".join(SENTIMENTS),
        )
    return meaning


def _limits(corpus: str, settings: Text) -> tuple[int | None, int | None]:
    """How many rows of a corpus are learnt from, and judged on or stopped by; None = all."""
    if corpus == FILES:
        return settings.rows.get(FILES, settings.own_rows), None
    return settings.rows.get(corpus, settings.max_rows), settings.max_test_rows


def _limited(task: Task, most: int, draw: np.random.Generator) -> Task:
    """Rows of another corpus with so many training rows at most, so that they do not drown the domain's.

    The user's own stay all: they are what the domain is about.
    """
    train, corpus = np.flatnonzero(task.split == "train"), str(task.corpus[0])
    if not corpus.endswith(SERVED) or corpus == OWN or len(train) <= most:
        return task
    left_out = draw.choice(train, len(train) - most, replace=False)
    kept = np.setdiff1d(np.arange(len(task.split)), left_out)
    columns = {name: getattr(task, name)[kept] for name in ("texts", "targets", "split", "corpus")}
    return replace(task, **columns)


def _parts(corpus: Utterances, domain: Domain, split: np.ndarray, keep: np.ndarray, served: Served) -> Iterator[Task]:
    """The rows of a corpus for each label: for the served head where the labels are the domain's, else for its own."""
    for label in TASK_LABELS:
        names, targets = _labelled(corpus, label)
        if targets is None:
            continue
        alike = label != "intent" and corpus.corpus != FILES and set(names) <= set(shared_labels(label, domain))
        own = corpus.corpus == DOMAIN or alike
        labels = served[label] if own else names
        targets = _renumbered(targets, names, labels)
        rows = keep[targets[keep].any(1) if targets.ndim == 2 else targets[keep] >= 0]
        if len(rows) and len(labels) > 1:
            name = label if own else f"{label}_{corpus.corpus}"
            place = np.full(len(rows), corpus.corpus)
            yield Task(name, label, labels, corpus.texts[rows], targets[rows], split[rows], place)


def _labelled(corpus: Utterances, label: str) -> tuple[tuple[str, ...], np.ndarray | None]:
    """A corpus' label names and targets; the domain's sentences get their sentiment from their emotion."""
    targets = getattr(corpus, label)
    if label != "sentiment" or targets is not None or corpus.corpus != DOMAIN or corpus.emotion is None:
        return tuple(corpus.labels.get(label, ())), targets
    table = [SENTIMENTS.index(FEELS[name]) if name in FEELS else -1 for name in corpus.labels["emotion"]]
    return SENTIMENTS, np.array([*table, -1], np.int32)[corpus.emotion]


def _renumbered(targets: np.ndarray, names: tuple[str, ...], labels: tuple[str, ...]) -> np.ndarray:
    """Targets numbered by `names` -> numbered by `labels`; what is not among them has no label (-1)."""
    if names == labels:
        return targets
    if targets.ndim == 2:
        columns = [names.index(name) if name in names else -1 for name in labels]
        padded = np.concatenate([targets, np.zeros((len(targets), 1), bool)], 1)
        return padded[:, columns]
    table = np.array([labels.index(name) if name in labels else -1 for name in names] + [-1], np.int32)
    return table[targets]


def _joined(tasks: list[Task]) -> Task:
    first = tasks[0]
    columns = (np.concatenate([getattr(t, name) for t in tasks]) for name in ("texts", "targets", "split", "corpus"))
    return Task(first.name, first.label, first.labels, *columns)


def _with_validation(split: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A tenth of the training rows validates where no row does; a fifth is tested on where none is."""
    split = split.astype("<U10").copy()
    for missing, share in (("test", 5), ("validation", 10)):
        train = np.flatnonzero(split == "train")
        if not (split == missing).any() and len(train) >= share:
            split[draw.choice(train, len(train) // share, replace=False)] = missing
    return split


def _sample(
    split: np.ndarray, max_rows: int | None, max_test_rows: int | None, draw: np.random.Generator
) -> np.ndarray:
    """Row numbers kept, in their order; None = no limit."""
    kept = []
    for name, most in (("train", max_rows), ("validation", max_test_rows), ("test", max_test_rows)):
        rows = np.flatnonzero(split == name)
        kept.append(rows if most is None or len(rows) <= most else draw.choice(rows, most, replace=False))
    return np.sort(np.concatenate(kept))


def main_labels(tasks: Sequence[Task]) -> dict[str, str]:
    """Corpus -> the first of intent, sentiment and emotion that it has."""
    main: dict[str, str] = {}
    for task in sorted(tasks, key=lambda task: TASK_LABELS.index(task.label), reverse=True):
        main |= dict.fromkeys(np.unique(task.corpus).tolist(), task.label)
    return main
