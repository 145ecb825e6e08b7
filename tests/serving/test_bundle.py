"""Versions that differ in their policy alone: what they share, and that they are SavedModels like any other."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.serving import bundle
from tfrec_llm.serving.manifest import POLICY_FILES, check_manifest, differs_in
from tfrec_llm.serving.saved_model import export_policy


@pytest.fixture(scope="module")
def folder(smoke_run, tmp_path_factory):
    """An export folder of its own, its version 1 that of the smoke run."""
    place = tmp_path_factory.mktemp("export")
    shutil.copytree(smoke_run / "export" / "1", place / "1")
    return place


@pytest.fixture(scope="module")
def policy(folder):
    draw = np.random.default_rng(1)
    before = bundle.read_policy(folder / "1")
    return {name: value + draw.normal(0, 0.5, value.shape).astype(value.dtype) for name, value in before.items()}


@pytest.fixture(scope="module")
def second(folder, policy):
    return export_policy(folder / "1", policy)


def ask(folder, request_id="a"):
    model = tf.saved_model.load(str(folder))
    spec = model.signatures["serving_default"].structured_input_signature[1]
    empty = {name: tf.zeros([1, *s.shape[1:]], s.dtype) for name, s in spec.items() if s.dtype != tf.string}
    empty |= {name: tf.fill([1, *s.shape[1:]], "") for name, s in spec.items() if s.dtype == tf.string}
    wanted = {"k": tf.constant([10]), "request_id": tf.constant([request_id])}
    return model, model.signatures["serving_default"](**(empty | wanted))


def test_the_next_version_says_its_number_and_has_the_new_policy(folder, policy, second):
    assert second == folder / "2"
    _, before = ask(folder / "1")
    model, after = ask(second)
    assert (before["model_version"].numpy().tolist(), after["model_version"].numpy().tolist()) == ([b"1"], [b"2"])
    assert not np.allclose(before["scores"], after["scores"])
    for place, variable in enumerate(model.policy):
        np.testing.assert_array_equal(variable, policy[f"policy/{place}"])
    read = bundle.read_policy(second)
    assert list(read) == list(policy)
    for name, value in policy.items():
        np.testing.assert_array_equal(read[name], value)


def test_it_shares_the_large_files_and_its_manifest_holds(folder, second):
    for name in bundle.SHARED:
        assert os.path.samefile(folder / "1" / name, second / name)
    own = sum((second / name).stat().st_size for name in POLICY_FILES)
    assert own < 0.1 * (second / bundle.SHARED[0]).stat().st_size
    check_manifest(second)
    check_manifest(second, trusted=folder / "1")
    assert differs_in(folder / "1", second, POLICY_FILES)
    assert not differs_in(folder / "1", second, POLICY_FILES[:1])


def test_old_values_bring_the_old_answers_back(folder, second):
    third = export_policy(second, bundle.read_policy(folder / "1"))
    (_, before), (_, after) = ask(folder / "1"), ask(third)
    for name in ("item_ids", "scores", "propensities"):
        np.testing.assert_array_equal(before[name], after[name])


def test_values_that_do_not_fit_leave_nothing_behind(folder, policy, second):
    fewer = dict(list(policy.items())[1:])
    before = sorted(p.name for p in folder.iterdir())
    with pytest.raises(ValueError, match="expected values of the"):
        export_policy(second, fewer)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_what_is_no_divided_savedmodel_is_said(tmp_path):
    with pytest.raises(ValueError, match="expected the variables of a SavedModel"):
        bundle.read_policy(tmp_path)
