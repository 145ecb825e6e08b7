"""A shop whose files hold vectors, pictures and what users are: from the files to the export, and judged by group."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from pipelines import judged, publish, stages
from tfrec_llm import config as configs
from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data import synthetic
from tfrec_llm.fusion.images import NETWORKS, Network

SMALL = ("behaviour.min_steps=0", "behaviour.epochs=1", "retrieval.epochs=1", "fusion.epochs=2", "ranking.epochs=1",
         "evaluate.bootstrap=20", "text.epochs=1", "text.slots.rows=0", "retrieval.item_item=false",
         "data.source=files", "data.min_item_count=1", "evaluate.split=test")  # fmt: skip


def tiny(include_top, weights, pooling, input_shape):
    del include_top, weights, pooling
    pixels = tf.keras.Input(input_shape)
    return tf.keras.Model(pixels, tf.keras.layers.GlobalAveragePooling2D()(pixels))


def write_files(folder):
    """A synthetic shop's events and items as CSV, with vectors, pictures of some items, and users of two ages."""
    raw = synthetic.load(Data(source="synthetic", synthetic_users=150, synthetic_items=30, synthetic_events=12), 1)
    raw.interactions.to_csv(folder / "events.csv", index=False)
    rng = np.random.default_rng(0)
    items = raw.items[["item_id", "title", "text"]].copy()
    items["sound"] = [
        " ".join(f"{v:.3f}" for v in row) if n % 7 else "" for n, row in enumerate(rng.normal(size=(len(items), 3)))
    ]
    items["image_path"] = [f"{n}.png" if n % 3 == 0 else "" for n in range(len(items))]
    items.to_csv(folder / "items.csv", index=False)
    for n in range(0, len(items) - 3, 3):  # the last picture is named, but not there
        pixels = tf.constant(rng.integers(0, 255, (9, 7, 3)), tf.uint8)
        (folder / f"{n}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    users = sorted(set(raw.interactions["user_id"]))
    rows = [f"{user},{'F' if n % 2 else 'M'},{'18-24' if n % 3 else '25-34'}" for n, user in enumerate(users)]
    (folder / "users.csv").write_text("\n".join(["user_id,gender,age", *rows]) + "\n")
    domain = (publish.ROOT / "tfrec_llm" / "data" / "domains" / "video.toml").read_text("utf-8")
    domain = domain.replace("use_attributes = false", "use_attributes = true")
    domain = domain.replace('attributes = ["gender", "age", "occupation"]', 'attributes = ["gender", "age"]')
    (folder / "domain.toml").write_text(domain, encoding="utf-8")
    (folder / "weights.h5").write_text("not read by the network of this test")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_files(folder)
    config = configs.load(publish.ROOT / "pipelines" / "configs" / "smoke.toml", SMALL)
    names = {"interactions": "events.csv", "items": "items.csv", "users": "users.csv", "domain": "domain.toml"}
    data = dataclasses.replace(config.data, **{key: str(folder / name) for key, name in names.items()})
    own = configs.Modalities(
        columns={"audio": "sound"}, network="tiny", weights=str(folder / "weights.h5"), image_size=32,
        item_attributes=False, dim=4,
    )  # fmt: skip
    return dataclasses.replace(config, data=data, modalities=own)


def test_from_the_files_to_the_export(shop, tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "tiny", Network(tiny, lambda pixels: pixels / 255))
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    stages.run_stages(shop, run)
    widths = json.loads((run / "fusion" / "context" / "fusion.json").read_text("utf-8"))["widths"]
    assert (widths["item_image"], widths["item_audio"], widths["user"]) == (4, 4, 6)
    judged.judge_run(dataclasses.replace(shop, evaluate=dataclasses.replace(shop.evaluate, exported=True)), run)
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))["metrics"]
    for name in ("system", "system_without_attributes"):
        assert {f"{name}.ndcg@10", f"{name}.gap_by_gender.ndcg@10", f"{name}.ndcg@10|age_18-24"} <= set(metrics)
    assert "gain.system.over.system_without_attributes.ndcg@10" in metrics
    for metric in ("ndcg@10", "recall@100"):  # asked in strings, with all that a history of twelve events says
        assert metrics[f"exported.{metric}"]["value"] == pytest.approx(metrics[f"system.{metric}"]["value"], abs=1e-6)
    _check_export(run)


def _check_export(run):
    signatures = tf.saved_model.load(str(run / "export" / "1")).signatures
    serve, decide = signatures["serving_default"], signatures["decide"]
    dim = np.load(run / "text" / "item_vectors.npz")["text"].shape[1]
    dataset = stages.load_dataset(run)
    seen = [str(item) for item in dataset.catalogue.item_ids[2:5]]

    def context(*attributes):
        padded = lambda values, width: tf.constant([[*values, *[""] * (width - len(values))]])  # noqa: E731
        asked = {
            "request_id": tf.constant([""]), "user_id": tf.constant([""]), "history": padded(seen, 50),
            "history_event": padded([], 50), "history_time": tf.zeros([1, 50], tf.int64),
            "request_time": tf.zeros([1], tf.int64), "attributes": padded(attributes, 8), "exclude": padded([], 50),
            "k": tf.constant([5]),
        }  # fmt: skip
        answer = serve(utterance=tf.constant([""]), **asked)
        decided = decide(embedding=tf.zeros([1, dim]), has_text=tf.constant([False]), **asked)
        assert np.isfinite(answer["scores"]).all()
        np.testing.assert_allclose(answer["scores"], decided["scores"], rtol=1e-5)
        return decided["context"].numpy()

    assert np.abs(context("F", "18-24") - context("M", "25-34")).max() > 1e-6
    np.testing.assert_array_equal(context(), context("", ""))
    context("X", "99")  # strangers get an answer


def test_attributes_without_users_are_refused_before_anything_is_made(shop, tmp_path):
    without = dataclasses.replace(shop, data=dataclasses.replace(shop.data, users=""))
    without = dataclasses.replace(without, modalities=configs.Modalities())
    with pytest.raises(ConfigError, match=r"use_attributes = true: expected data\.users"):
        stages.run_stages(without, tmp_path / "run")
    assert not (tmp_path / "run").exists()
