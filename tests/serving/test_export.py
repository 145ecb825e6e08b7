"""The SavedModel: what a stranger's process answers, what is in its graph, and that it answers as Python does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from pipelines import stages
from tests.serving import foreign
from tests.serving.operations import ALLOWED
from tfrec_llm import config as configs
from tfrec_llm import serving
from tfrec_llm.serving.saved_model import signatures
from tfrec_llm.types import History

INPUTS = {
    "request_id", "user_id", "utterance", "history", "history_event", "history_time", "request_time", "attributes",
    "exclude", "k",
}  # fmt: skip
OUTPUTS = {
    "item_ids", "scores", "propensities", "intent", "emotion", "sentiment", "intent_probability",
    "emotion_probability", "because", "model_version",
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(smoke_run):
    return stages.load_dataset(smoke_run)


@pytest.fixture(scope="module")
def folder(smoke_run):
    return smoke_run / "export" / "1"


@pytest.fixture(scope="module")
def exported(folder):
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def recommender(smoke_run, dataset, tmp_path_factory):
    config = configs.load(smoke_run / "config.toml")
    made = serving.load_recommender(config, dataset, smoke_run, tmp_path_factory.mktemp("scratch"))
    made.version.assign(1)
    return made


@pytest.fixture(scope="module")
def serve(exported):
    return exported.signatures["serving_default"]


@pytest.fixture(scope="module")
def items(dataset):
    return [str(i) for i in dataset.catalogue.item_ids[2:]]


def questions(items):
    events, times = ["rated_5", "rated_3", "rated_4"], [1_000_000_000, 1_000_000_060, 1_000_500_000]
    known = {"items": items[:3], "events": events, "times": times, "time": 1_000_600_000}
    return [
        [{"text": "手机", **known}],
        [{"user": "nobody at all", "text": "funny animation for kids"}],
        [{"user": "user 1", **known}],
        [{"text": "🙂" * 50, "items": ["no such item", items[4]]}],
        [{"text": "x" * 20_000}],
        [{"k": 3, **known}, {"text": "funny", "items": items[5:9], "k": 10}],
        [{"request": "a", **known}],
        [{"request": "b", "text": "funny", **known}, {"request": "", **known}],
    ]


@pytest.fixture(scope="module")
def strangers_answers(folder, items, tmp_path_factory):
    """Answers of a process that knows TensorFlow and TF Text only."""
    place = tmp_path_factory.mktemp("stranger")
    (place / "questions.json").write_text(json.dumps(questions(items)), encoding="utf-8")
    command = [sys.executable, "-I", str(Path(foreign.__file__).resolve()), str(folder)]
    command += [str(place / "questions.json"), str(place / "answers.json")]
    subprocess.run(command, check=True, cwd=place, capture_output=True)
    return json.loads((place / "answers.json").read_text("utf-8"))


def test_inputs_and_outputs_have_the_names_of_the_design(serve):
    assert set(serve.structured_input_signature[1]) == INPUTS
    assert set(serve.structured_outputs) == OUTPUTS


def test_a_process_without_the_project_gets_full_answers(strangers_answers):
    for answer in strangers_answers:
        for ids, propensities in zip(answer["item_ids"], answer["propensities"], strict=True):
            shown = [i for i in ids if i]
            assert len(set(shown)) == len(shown) in (3, 10)
            assert all(0 < p <= 1 for p in propensities[: len(shown)])
            assert not any(propensities[len(shown) :])


def test_python_gives_the_strangers_answers(strangers_answers, recommender, items):
    export = configs.Export(max_history=50)
    serve = signatures(recommender, export)["serving_default"]
    for question, theirs in zip(questions(items), strangers_answers, strict=True):
        ours = foreign.ask(serve, question)
        for name, value in theirs.items():
            if name in ("scores", "propensities", "intent_probability", "emotion_probability"):
                np.testing.assert_allclose(ours[name], value, atol=1e-5)
            else:
                assert ours[name] == value


def test_text_is_heard_and_silence_says_nothing(strangers_answers, dataset):
    spoken, silent = strangers_answers[1], strangers_answers[2]
    assert spoken["intent"][0] in (*dataset.domain.intents, "none")
    assert spoken["emotion"][0] in dataset.domain.emotions
    assert spoken["sentiment"][0] in ("negative", "neutral", "positive")
    assert (silent["intent"], silent["emotion"], silent["sentiment"]) == ([""], [""], [""])
    assert silent["intent_probability"] == [0.0]


def test_a_row_answers_alone_as_in_a_batch(serve, items):
    rows = [row for question in questions(items) for row in question]
    together = foreign.ask(serve, rows)
    for place, row in enumerate(rows):
        alone = foreign.ask(serve, [row])
        shown = row.get("k", 10)
        assert together["item_ids"][place][:shown] == alone["item_ids"][0]
        assert not any(together["item_ids"][place][shown:])
        assert together["because"][place][:shown] == alone["because"][0]
        np.testing.assert_allclose(together["propensities"][place][:shown], alone["propensities"][0], atol=1e-5)


def test_equal_request_ids_agree_and_others_explore(serve, items):
    ask = [foreign.ask(serve, [{"items": items[:3], "request": r}])["item_ids"][0] for r in ["a", "a", *"bcdefgh"]]
    assert ask[0] == ask[1]
    assert any(other != ask[0] for other in ask[2:])


def test_greedy_has_propensity_one(serve, items):
    assert foreign.ask(serve, [{"items": items[:3]}])["propensities"] == [[1.0] * 10]


def test_history_and_exclude_are_never_shown(serve, items):
    first = foreign.ask(serve, [{"items": items[:3]}])["item_ids"][0]
    assert not set(first) & set(items[:3])
    for request in ("", "a", "b", "c"):
        asked = {"items": items[:3], "exclude": first[:5], "request": request}
        assert not set(foreign.ask(serve, [asked])["item_ids"][0]) & set(first[:5])


@pytest.mark.parametrize(("k", "shown"), [(0, 0), (-1, 0), (1, 1), (10**9, 40)])
def test_any_k_is_answered(serve, items, k, shown):
    answer = foreign.ask(serve, [{"items": items[:3], "k": k}])
    assert len([i for i in answer["item_ids"][0] if i]) == shown


def test_serving_default_is_tokenize_then_encode_then_decide(exported, serve, items):
    row = {"items": items[:3], "text": "something sad in Chinese", "request": "a"}
    tokens = exported.signatures["tokenize"](utterance=tf.constant([row["text"]]))
    embedding = exported.signatures["encode_text"](**tokens)["embedding"]
    decide = exported.signatures["decide"]

    def ask_decide(utterance, **inputs):
        return decide(embedding=embedding, has_text=tf.constant([True]), **inputs)

    ask_decide.structured_input_signature = serve.structured_input_signature
    ours, decided = foreign.ask(serve, [row]), foreign.ask(ask_decide, [row])
    for name, value in ours.items():
        assert decided[name] == value or np.allclose(decided[name], value, atol=1e-5)
    assert set(decided) - set(ours) == {"context", "candidate_ids", "features", "slot_probabilities"}
    np.testing.assert_allclose(np.sum(decided["slot_probabilities"], axis=2), 1.0, atol=1e-5)


def test_because_is_the_exact_leave_one_out(recommender, serve, items, dataset):
    row = {"items": items[:4], "events": ["rated_5"] * 4, "times": [10**9 + 1000 * i for i in range(4)]}
    row["time"] = 10**9 + 5000
    answer = foreign.ask(serve, [row])
    index = {item: i for i, item in enumerate(dataset.catalogue.item_ids)}

    def score(rows_kept, item):
        kept = [[values[i] for i in rows_kept] for values in (row["items"], row["times"])]
        events = tf.constant([[dataset.domain.events.index("rated_5") + 2] * len(rows_kept)])
        past = History(tf.constant([[index[i] for i in kept[0]]]), events, tf.constant([kept[1]], tf.int64))
        silent = tf.zeros([1, recommender.path.text.dim]), tf.constant([False])
        _, queries = recommender.path.queries(past, tf.constant([row["time"]], tf.int64), *silent)
        return float(recommender.path.source.scores_of(queries, past, tf.constant([[index[item]]]))[0, 0])

    for item, because in list(zip(answer["item_ids"][0], answer["because"][0], strict=True))[:3]:
        full = score(range(4), item)
        drops = {row["items"][i]: full - score([j for j in range(4) if j != i], item) for i in range(4)}
        wanted = [name for name, drop in sorted(drops.items(), key=lambda pair: -pair[1]) if drop > 1e-6][:3]
        assert [name for name in because if name][: len(wanted)] == wanted


def test_the_graph_has_core_and_text_operations_only(folder):
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    nodes = [n for meta in model.meta_graphs for n in meta.graph_def.node]
    nodes += [n for meta in model.meta_graphs for f in meta.graph_def.library.function for n in f.node_def]
    own = {f.signature.name for meta in model.meta_graphs for f in meta.graph_def.library.function}
    names = {node.op for node in nodes} - own
    assert sorted(names - ALLOWED) == []
    assert not [name for name in names if "PyFunc" in name or name.startswith("Xla") or "Numpy" in name]
    assert not [f for m in model.meta_graphs for f in m.graph_def.library.function if f.attr["_XlaMustCompile"].b]
    assert not [node for node in nodes if node.attr["_XlaMustCompile"].b]
    files = {name for name in names if "File" in name}
    assert files <= {"InitializeTableFromTextFileV2", "MergeV2Checkpoints", "ShardedFilename"}


def test_the_manifest_names_every_file(folder):
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == found


def test_a_failed_export_leaves_no_version_and_no_remains(recommender, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(OSError, match="No space left"):
        serving.export(recommender, tmp_path, configs.Export(max_history=50))
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_outside_the_graph_is_refused_and_nothing_is_written(recommender, tmp_path, monkeypatch):
    tokenizer = recommender.path.text.encoder.tokenizer
    monkeypatch.setattr(tokenizer, "export_obstacle", "it is Python", raising=False)
    with pytest.raises(ValueError, match="expected an encoder of TensorFlow operations alone, got another: it is Pyth"):
        serving.export(recommender, tmp_path, configs.Export())
    assert list(tmp_path.iterdir()) == []
