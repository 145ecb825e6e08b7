"""Item to item weights in closed form, asked with a history weighted by recency: the third source of candidates.

EASE (Steck, 2019, "Embarrassingly shallow autoencoders for sparse data") forgets the order of a history; counted the
less the older they are, the same items say more about what comes next. Penalty and decay are those that rank half A of
the validation users best. What one matrix cannot hold has its neighbours from `tail`. Next: the blend learns what this
source counts.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrec_llm import metrics
from tfrec_llm.config import Config, Retrieval
from tfrec_llm.data.history import histories
from tfrec_llm.data.incidence import ease_weights, training_matrix
from tfrec_llm.data.shown import answerable, shown_items
from tfrec_llm.retrieval.past import Neighbours, newest_worth
from tfrec_llm.retrieval.tail import Form, Strongest, add_tail
from tfrec_llm.training import Stage, files
from tfrec_llm.types import FIRST_ITEM, Dataset, History

FILE = "neighbours.npz"
DECAYS = (1.0, 2.0, 5.0, 10.0, 30.0, 100.0)  # steps
JUDGED = 6000  # half A queries that penalty and decay are chosen on at most; some hundreds cannot tell them apart
JUDGED_CELLS = 60_000_000  # the same times the items: more items are judged by fewer queries, 200 at least
DEPTH = 10  # of the NDCG that chooses
CHUNK, SPREAD_ON = 256, 1024  # questions
CHOSEN_ON = 10_000  # commonest items that penalty and decay are chosen on: one matrix for each penalty
log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """Half A's questions."""

    worth: dict[float, sparse.csr_matrix]  # decay -> [R, K] what the history counts of each kept item
    kept: np.ndarray  # [K] item indices
    allowed: np.ndarray  # [R, K] bool which of them may come back
    relevant: np.ndarray  # item indices, flat
    offsets: np.ndarray  # [R+1]


class Choice(NamedTuple):
    """What ranks half A best."""

    gain: float  # its NDCG@10
    l2: float
    decay: float  # steps
    spread: float  # of its scores


UNCHOSEN = Choice(0.0, 500.0, 5.0, 1.0)  # where nobody can be asked


def train_item_item(
    config: Config, dataset: Dataset, stage: Stage, choice: Choice | None = None
) -> dict[str, dict[str, Any]]:
    """Learns the neighbours and writes them into the stage's folder.

    Args:
      config: section retrieval, `export.max_history` and the seed.
      dataset: what `prepare` left.
      stage: its folder is written to.
      choice: of penalty and decay, as of `load_choice`; None = half A chooses.

    Returns:
      metrics.json entry: NDCG@10 on half A, which chose penalty and decay, so it flatters a little.
    """
    neighbours, choice, count = learn_neighbours(config, dataset, choice)
    chosen = {name: np.float32(value) for name, value in choice._asdict().items()}
    files.write_npz(stage.folder / FILE, {**neighbours._asdict(), **chosen})
    if not count:
        return {}
    entry = {"value": choice.gain, "ci95": None, "over": "users", "n": count, "split": "validation"}
    return {"retrieval.item_item.half_a.ndcg@10": entry}


def load_neighbours(folder: Path) -> Neighbours | None:
    """What `train_item_item` left in a folder; None where the source is off."""
    if not (folder / FILE).exists():
        return None
    found = files.read_npz(folder / FILE)
    return Neighbours(found["item_ids"], found["weights"], float(found["decay"]))


def load_choice(folder: Path) -> Choice | None:
    """What half A chose for the neighbours in a folder; None where the source is off, or a run before wrote it."""
    found = files.read_npz(folder / FILE) if (folder / FILE).exists() else {}
    return Choice(*(float(found[name]) for name in Choice._fields)) if set(Choice._fields) <= set(found) else None


def learn_neighbours(config: Config, dataset: Dataset, choice: Choice | None = None) -> tuple[Neighbours, Choice, int]:
    """The strongest neighbours of every item.

    Args:
      config: as of `train_item_item`.
      dataset: training events, half A of the validation users.
      choice: of penalty and decay; None = half A chooses.

    Returns:
      The neighbours, their weights such that scores of half A spread by about one; the choice, with the NDCG@10 there
      of the whole matrix; and of how many questions it is the mean, 0 = nobody was asked.
    """
    settings, owned = config.retrieval, training_matrix(dataset)
    counts = np.asarray(owned.sum(axis=0)).ravel()
    kept = _commonest(counts, settings.item_item_max_items)
    known = _commonest(counts, min(settings.item_item_max_items, CHOSEN_ON))
    tail = np.setdiff1d(_commonest(counts, settings.item_item_max_items + settings.item_item_tail), kept)
    asked = None if choice else _asked(config, dataset, known)
    choice, found = _choose(settings, owned, asked) if asked else (choice or UNCHOSEN, None)
    if found is None or len(kept) > len(asked.kept) or len(tail):
        whole = ease_weights(owned[:, kept], choice.l2)
        found = _strongest(whole, kept, owned.shape[1], settings)
        if len(tail):
            log.info("item_item: %d more items are regressed on the %d commonest", len(tail), len(kept))
            add_tail(Strongest(*found), owned, Form(kept, whole, choice.l2), tail)
    item_ids, weights = found
    neighbours = Neighbours(item_ids, (weights / max(choice.spread, 1e-6)).astype(np.float32), choice.decay)
    return neighbours, choice, len(asked.offsets) - 1 if asked else 0


def _commonest(counts: np.ndarray, most: int) -> np.ndarray:
    """The items that most users have, by index."""
    items = np.sort(np.argsort(-counts, kind="stable")[:most])
    return items[(counts[items] > 0) & (items >= FIRST_ITEM)]


def _choose(
    settings: Retrieval, owned: sparse.csr_matrix, asked: Asked
) -> tuple[Choice, tuple[np.ndarray, np.ndarray]]:
    """Penalty and decay that half A likes best, and the strongest weights then, of the items asked about."""
    best, found = UNCHOSEN._replace(gain=-1.0), None
    for l2 in settings.item_item_l2:
        weights = ease_weights(owned[:, asked.kept], l2)
        for decay in DECAYS:
            gain, spread = _judge(asked, decay, weights)
            log.info("item_item: penalty %g, decay %g: ndcg@%d %.4f on half A", l2, decay, DEPTH, gain)
            if gain > best.gain:
                best, found = Choice(gain, l2, decay, spread), _strongest(weights, asked.kept, owned.shape[1], settings)
    return best, found


def _asked(config: Config, dataset: Dataset, kept: np.ndarray) -> Asked | None:
    """Some of half A's questions; None where there are none."""
    queries = dataset.split.validation
    rows = np.flatnonzero(~dataset.split.half_b)
    most = min(JUDGED, max(200, JUDGED_CELLS // max(1, len(kept))))
    rows = np.random.default_rng(config.seed).permutation(rows)[:most]
    if not len(rows):
        return None
    history = History(*map(tf.constant, histories(dataset.interactions, queries, rows, config.export.max_history)))
    place, basket = np.full(len(dataset.catalogue.item_ids), -1), dataset.domain.step == "basket"
    place[kept] = np.arange(len(kept))
    item = history.item.numpy()
    row, column = np.nonzero(place[item] >= 0)
    where = (row, place[item[row, column]])
    worth, starts = {}, range(0, len(rows), CHUNK)
    chunks = [History(*(values[i : i + CHUNK] for values in history)) for i in starts]  # pairs of events are compared
    for decay in DECAYS:
        parts = [newest_worth(part, basket, [tf.constant(decay, tf.float32)])[..., 0] for part in chunks]
        values = tf.concat(parts, axis=0).numpy()[row, column]
        worth[decay] = sparse.csr_matrix((values, where), shape=(len(rows), len(kept)))
    shown = shown_items(dataset.catalogue, dataset.domain)
    allowed = np.concatenate([answerable(dataset, queries, rows[i : i + CHUNK], shown)[:, kept] for i in starts])
    parts = [queries.relevant[queries.offsets[row] : queries.offsets[row + 1]] for row in rows]
    return Asked(worth, kept, allowed, np.concatenate(parts), np.cumsum([0, *map(len, parts)]))


def _judge(asked: Asked, decay: float, weights: np.ndarray) -> tuple[float, float]:
    """NDCG@10, and the mean over some of the questions of the scores' spread."""
    top, spread = [], []
    for start in range(0, len(asked.allowed), CHUNK):
        scores = asked.worth[decay][start : start + CHUNK] @ weights
        if start < SPREAD_ON:
            spread.append(scores.std(axis=1))
        scores[~asked.allowed[start : start + CHUNK]] = -np.inf
        top.append(asked.kept[tf.math.top_k(scores, min(DEPTH, scores.shape[1])).indices.numpy()])
    gains = metrics.ndcg(np.concatenate(top), asked.relevant, asked.offsets, DEPTH)
    return float(gains.mean()), float(np.concatenate(spread).mean())


def _strongest(
    weights: np.ndarray, kept: np.ndarray, num_rows: int, settings: Retrieval
) -> tuple[np.ndarray, np.ndarray]:
    """Item indices [N+2, M] and weights [N+2, M] of the largest weights of each row that are above zero."""
    count = max(1, min(settings.item_item_neighbours, len(kept) - 1))
    ids, strengths = np.zeros([num_rows, count], np.int32), np.zeros([num_rows, count], np.float32)
    for start in range(0, len(kept), CHUNK):
        block = weights[start : start + CHUNK]
        some = np.argpartition(-block, min(count, block.shape[1] - 1), axis=1)[:, :count]
        found = np.take_along_axis(block, some, axis=1)
        rows = kept[start : start + CHUNK]
        ids[rows] = np.where(found > 0, kept[some], 0)
        strengths[rows] = np.maximum(found, 0)
    return ids, strengths
