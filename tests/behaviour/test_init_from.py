"""A behaviour model that starts from another catalogue's: the recurrence is carried, the items are its own."""

import dataclasses

import numpy as np
import tomli_w

from tests.behaviour.test_stage import CONFIG, make_stage, with_settings
from tests.behaviour.worlds import chain, dataset_of
from tfrec_llm import behaviour
from tfrec_llm.behaviour.stage import WEIGHTS
from tfrec_llm.config import Train, to_table
from tfrec_llm.training import run_stage
from tfrec_llm.training.files import read_npz, write_json
from tfrec_llm.types import ItemVectors

ITEMS = 30


def vectors(items, seed):
    text = np.random.default_rng(seed).normal(size=(items + 2, 6)).astype(np.float32)
    return ItemVectors(text, None, None, None, np.ones((items + 2, 1), bool))


def test_recurrence_is_carried_and_items_are_not(tmp_path):
    source, run = dataset_of(chain(60, 12, ITEMS), ITEMS), tmp_path / "run"
    texts = vectors(ITEMS, 1)
    run_stage(
        run, "behaviour", {}, lambda stage: behaviour.train(with_settings(epochs=2), source, texts, stage) and None
    )
    for name in ("data", "text", "retrieval/towers"):
        events = {"domain": {"events": list(source.domain.events)}}
        run_stage(run, name, {}, lambda stage, events=events: write_json(stage.folder / "dataset.json", events))
    (run / "config.toml").write_text(tomli_w.dumps(to_table(CONFIG)))

    target, weights = dataset_of(chain(40, 12, ITEMS, seed=5), ITEMS), {}
    for name, start in (("fresh", ""), ("started", str(run))):
        train = Train(precision="float32", xla="off", init_from=start)
        config = dataclasses.replace(with_settings(epochs=1, learning_rate=1e-8), train=train)
        stage = make_stage(tmp_path / name)
        behaviour.train(config, target, vectors(ITEMS, 2), stage)
        weights[name] = read_npz(stage.folder / WEIGHTS)
    before = read_npz(run / "behaviour" / WEIGHTS)
    for name, value in weights["started"].items():
        carried = name not in ("table/ids", "table/text", "bias")
        like = before[name] if carried else weights["fresh"][name]
        np.testing.assert_allclose(value, like, atol=1e-5, err_msg=name)
    assert not np.allclose(weights["fresh"]["table/projection"], before["table/projection"], atol=1e-3)
