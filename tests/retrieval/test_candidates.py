"""retrieval.candidates: what comes back, its features, reasons' scores, files, export."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.retrieval.candidates import CandidateSource
from tfrec_llm.retrieval.past import REPEAT_SOURCES
from tfrec_llm.types import Candidates, History

NONE = np.zeros([1, 0], np.int32)


def tables(rng, rows=22, text=True):
    made = {"behaviour": rng.normal(size=[rows, 6]), "towers": rng.normal(size=[rows, 4])}
    return made | ({"text": rng.normal(size=[rows, 5]) + 3} if text else {})


def queries(rng, source, batch, spoken=True):
    def one(name, width):
        present = np.full(batch, spoken if name == "text" else True)
        return tf.constant(rng.normal(size=[batch, width]), tf.float32), tf.constant(present)

    return {name: one(name, width) for name, width in source.widths.items()}


def make(world, seed=0, text=True, **kwargs):
    """A source with weights of its own on random tables."""
    rng = np.random.default_rng(seed)
    source = CandidateSource.build(tables(rng, text=text), world(**kwargs).dataset)
    source.weights.assign(rng.uniform(0.5, 1.5, source.weights.shape))
    source.scale.assign(rng.uniform(0.5, 1.5, source.scale.shape))
    return source, rng


def test_candidates_are_the_best_of_all_scores(world, as_history):
    source, rng = make(world, repeat=True)
    history, asked = as_history([2, 3, 2], [5]), queries(rng, source, 2)
    found = source.candidates(asked, history, NONE.repeat(2, 0), 5)
    scores = source.scores(asked, history).numpy()
    scores[:, :2] = -np.inf
    np.testing.assert_array_equal(found.item_ids, np.argsort(-scores, axis=1)[:, :5])
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :5], atol=1e-5)


def test_the_blend_is_the_weighted_sum_of_the_sources(world, as_history):
    source, rng = make(world, repeat=True)
    history, asked = as_history([2, 3, 2], [5], []), queries(rng, source, 3)
    parts, weights = source.source_scores(asked, history), source.row_weights(asked, history)
    want = np.einsum("bns,bs->bn", parts, weights)
    np.testing.assert_allclose(source.scores(asked, history), want, atol=1e-4)
    assert source.source_names == ("behaviour", "towers", "text", "popularity", *REPEAT_SOURCES)


@pytest.mark.parametrize("repeat", [True, False])
def test_scores_of_equals_the_scores_of_the_candidates(world, as_history, repeat):
    source, rng = make(world, repeat=repeat)
    history, asked = as_history([2, 3, 2], [5], []), queries(rng, source, 3)
    found = source.candidates(asked, history, NONE.repeat(3, 0), 6)
    np.testing.assert_allclose(source.scores_of(asked, history, found.item_ids), found.scores, atol=1e-5)


def test_history_comes_back_only_where_the_domain_repeats(world, as_history):
    for repeat in (True, False):
        source, rng = make(world, repeat=repeat)
        found = source.candidates(queries(rng, source, 1), as_history([2, 3, 4]), NONE, 20)
        held = set(np.asarray(found.item_ids)[np.asarray(found.allowed)]) & {2, 3, 4}
        assert held == ({2, 3, 4} if repeat else set())


def test_what_the_user_bounds_is_heeded_where_enough_is_left(world, as_history):
    source, rng = make(world, repeat=True, deny=("i0",))
    within = np.zeros([2, 22], bool)
    within[0, [2, 5, 6, 7]], within[1, 8] = True, True  # item 2 is on the deny-list
    found = source.candidates(
        queries(rng, source, 2), as_history([9], [9]), np.array([[7], [7]]), 20, tf.constant(within), 2
    )
    shown = [set(row[may]) for row, may in zip(found.item_ids.numpy(), found.allowed.numpy(), strict=True)]
    assert shown[0] == {5, 6}
    assert shown[1] == set(range(3, 22)) - {7}  # one item alone is too few: the bound is not heeded


def test_a_language_does_not_count(world, as_history):
    """Two halves of a catalogue that differ along one axis only: with it taken out, both answer alike."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=[10, 4])
    table = np.zeros([22, 5])
    table[2:12, :4], table[12:, :4], table[12:, 4] = meaning, meaning, 5.0
    axes = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], np.float32)
    source = CandidateSource.build({"text": table}, world().dataset, axes)
    spoken = tf.constant([[*meaning[3], 5.0], [*meaning[3], 0.0]], tf.float32)
    scores = source.source_scores({"text": (spoken, tf.constant([True, True]))}, as_history([], []))[..., 0]
    np.testing.assert_allclose(scores[:, 2:12], scores[:, 12:], atol=1e-5)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_exclusions_and_the_deny_list_hold_and_k_is_filled(world, as_history):
    source, rng = make(world, repeat=True, deny=("i0", "i1"))
    found = source.candidates(queries(rng, source, 1), as_history([5]), np.array([[6, 7]]), 16)
    assert np.asarray(found.allowed).all()
    assert not set(found.item_ids.numpy()[0]) & {0, 1, 2, 3, 6, 7}


def test_fewer_than_k_left(world, as_history):
    source, rng = make(world)
    found = source.candidates(queries(rng, source, 2), as_history([5], [6]), np.arange(2, 21)[None].repeat(2, 0), 99)
    assert found.item_ids.shape == [2, 20]
    assert found.item_ids.numpy()[:, 0].tolist() == [21, 21]
    assert not found.item_ids.numpy()[:, 1:].any()
    assert not found.allowed.numpy()[:, 1:].any()
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.features).all()


def test_all_excluded(world, as_history):
    source, rng = make(world)
    found = source.candidates(queries(rng, source, 1), as_history([]), np.arange(22)[None], 5)
    assert not found.allowed.numpy().any()
    assert not found.item_ids.numpy().any()
    assert np.isfinite(found.features).all()


def test_features(world, as_history):
    source, rng = make(world, repeat=True)
    found = source.candidates(queries(rng, source, 2, spoken=False), as_history([2, 3, 2], [5]), NONE.repeat(2, 0), 20)
    column = dict(zip(source.feature_names, np.moveaxis(found.features.numpy(), -1, 0), strict=True))
    np.testing.assert_allclose(column["blend_probability"].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(column["blend_probability"], tf.nn.softmax(found.scores), atol=1e-5)
    np.testing.assert_allclose(column["behaviour"].mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(column["blend"].std(axis=1), 1, atol=1e-2)
    assert not column["text"].any()
    np.testing.assert_allclose(column["log_reciprocal_rank"][0], -np.log(np.arange(1, 21)), rtol=1e-5)
    ids = np.asarray(found.item_ids)[0]
    count = np.select([ids == 2, ids == 3], [np.log(3), np.log(2)], 0.0)
    np.testing.assert_allclose(column["history_count"][0], count, rtol=1e-5)
    # item 2 was bought last and two steps before, and counts half after three
    np.testing.assert_allclose(column["history_recency"][0][ids == 2], np.log(2 + 0.5 ** (2 / 3)), rtol=1e-5)


def test_an_empty_history_falls_back_to_popularity(world, as_history):
    source, _ = make(world)
    found = source.candidates({}, as_history([], width=3), NONE, 20)
    popularity = source.columns.silent.numpy()[:, -1]
    np.testing.assert_array_equal(found.item_ids[0], 2 + np.argsort(-popularity[2:], kind="stable"))
    np.testing.assert_allclose(found.scores[0], -np.sort(-popularity[2:]), atol=1e-6)


def test_utterances_have_weights_of_their_own(world, as_history):
    source, rng = make(world)
    source.weights.assign(np.array([[1, 0, 0, 0], [0, 0, 1, 0]], np.float32))
    asked = queries(rng, source, 2)
    asked["text"] = (asked["text"][0], tf.constant([False, True]))
    scores, parts = (
        source.scores(asked, as_history([2] * 6, [3] * 6)),
        source.source_scores(asked, as_history([2], [3])),
    )
    np.testing.assert_allclose(scores[0], parts[0, :, 0], atol=1e-5)
    np.testing.assert_allclose(scores[1], parts[1, :, 2], atol=1e-5)


def test_text_is_centred_and_items_without_text_stay_at_zero(world):
    table = np.random.default_rng(0).normal(size=[22, 5]) + 3
    table[[0, 1, 7]] = 0
    source = CandidateSource.build({"text": table}, world().dataset)
    centred = source.columns.spoken.numpy()
    assert not centred[[0, 1, 7]].any()
    np.testing.assert_allclose(np.linalg.norm(np.delete(centred, [0, 1, 7], 0), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(source.utterance_centre, np.delete(table, [0, 1, 7], 0).mean(axis=0), rtol=1e-5)


def test_absent_rows_may_hold_anything(world, as_history):
    source, rng = make(world)
    asked = queries(rng, source, 1)
    asked["text"] = (tf.fill([1, 5], float("nan")), tf.constant([False]))
    found = source.candidates(asked, as_history([3]), NONE, 5)
    assert np.isfinite(found.features).all()


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_row_alone_equals_the_row_in_a_batch(world, as_history, data):
    rows = data.draw(st.lists(st.lists(st.integers(1, 21), max_size=7), min_size=2, max_size=5))
    repeat = data.draw(st.booleans())
    source, rng = make(world, repeat=repeat)
    asked, exclude = queries(rng, source, len(rows)), rng.integers(0, 22, [len(rows), 3])
    together = source.candidates(asked, as_history(*rows, width=7), exclude, 20)
    last = len(rows) - 1
    alone = {name: (vector[last:], present[last:]) for name, (vector, present) in asked.items()}
    alone = source.candidates(alone, as_history(rows[last], width=7), exclude[last:], 20)
    np.testing.assert_array_equal(alone.item_ids[0], together.item_ids[last])
    np.testing.assert_allclose(alone.features[0], together.features[last], atol=2e-5)
    np.testing.assert_allclose(alone.scores[0], together.scores[last], atol=1e-5)


def test_unknown_sources_are_refused(world, as_history):
    source, _ = make(world, text=False)
    with pytest.raises(ValueError, match=r"expected queries of \['behaviour', 'towers'\], got \['text'\] too"):
        source.scores({"text": (tf.zeros([1, 5]), tf.constant([True]))}, as_history([2]))
    with pytest.raises(ValueError, match="expected tables of"):
        CandidateSource.build({"image": np.zeros([22, 2])}, world().dataset)
    with pytest.raises(ValueError, match=r"towers: expected a table \[22, \*\], got \[5, 2\]"):
        CandidateSource.build({"towers": np.zeros([5, 2])}, world().dataset)


def test_save_and_load(world, as_history, tmp_path):
    source, rng = make(world, repeat=True)
    source.save(tmp_path)
    again = CandidateSource.load(tmp_path)
    asked, history = queries(rng, source, 1), as_history([2, 3])
    for a, b in zip(source.candidates(asked, history, NONE, 9), again.candidates(asked, history, NONE, 9), strict=True):
        np.testing.assert_array_equal(a, b)


def test_load_is_strict(world, tmp_path):
    with pytest.raises(ValueError, match="expected a candidate source"):
        CandidateSource.load(tmp_path)
    make(world)[0].save(tmp_path)
    text = (tmp_path / "source.json").read_text(encoding="utf-8")
    (tmp_path / "source.json").write_text(text.replace('"num_rows": 22', '"num_rows": 23'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"columns/silent expected \[23, 11\], got \[22, 11\]"):
        CandidateSource.load(tmp_path)


def test_export_answers_the_same_and_keeps_tables_out_of_the_graph(world, as_history, tmp_path):
    source, rng = make(world, repeat=True)
    spec = [tf.TensorSpec([None, width], tf.float32, name=name) for name, width in source.widths.items()]
    spec += [
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None, None], tf.int64),
        tf.TensorSpec([None, None], tf.int32),
    ]

    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.source = source

        @tf.function(input_signature=spec)
        def find(self, behaviour, towers, text, item, time, exclude):
            here = tf.ones(tf.shape(item)[:1], tf.bool)
            asked = {"behaviour": (behaviour, here), "towers": (towers, here), "text": (text, here)}
            return self.source.candidates(asked, History(item, item, time), exclude, 7)._asdict()

    served = Served()
    inputs = [vector for vector, _ in queries(rng, source, 2).values()]
    history = as_history([2, 3, 2], [4])
    inputs += [history.item, history.time, tf.constant([[9], [0]])]
    tf.saved_model.save(served, str(tmp_path))
    again = tf.saved_model.load(str(tmp_path))
    loaded = Candidates(**again.find(*inputs))
    asked = {name: (vector, tf.ones([2], tf.bool)) for name, vector in zip(source.widths, inputs[:3], strict=True)}
    want = source.candidates(asked, history, inputs[-1], 7)
    np.testing.assert_array_equal(want.item_ids, loaded.item_ids)
    np.testing.assert_allclose(want.features, loaded.features, atol=1e-5)
    graph = again.find.concrete_functions[0].graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert not {n.op for n in nodes} & {"PyFunc", "EagerPyFunc", "_XlaMustCompile"}
    assert (tmp_path / "saved_model.pb").stat().st_size < 1_000_000
