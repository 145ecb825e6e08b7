"""The variables of a SavedModel in two shards: what learning from feedback changes, and all the rest.

A version that differs from another in its policy alone shares the larger shard with it (a hard link) and can be taken
over by a running process. To whoever loads it, it is a SavedModel like any other.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

PREFIX = "variables/variables"
SHARED = (f"{PREFIX}.data-00000-of-00002", "saved_model.pb")  # large, and equal in versions that share them
FROZEN = "assets.extra/frozen.index"  # says what lies in the shared shard
_POLICY, _VERSION, _VALUE = "policy/", "version", "/.ATTRIBUTES/VARIABLE_VALUE"


def divide(folder: Path) -> None:
    """Writes the variables of a SavedModel anew, in two shards.

    Args:
      folder: with a module saved whose `policy` (a list of variables) and `version` (int64) learning changes.

    Raises:
      ValueError: there are no such variables.
    """
    tensors = _read(folder)
    own = {name: value for name, value in tensors.items() if _is_own(name)}
    if not any(name.startswith(_POLICY) for name in own) or len(own) == len(tensors):
        raise ValueError(f"{folder}: expected variables of a policy and others, got {len(own)} of {len(tensors)}.")
    with _beside(folder) as place:
        _save(place / "frozen", {name: value for name, value in tensors.items() if name not in own})
        (folder / FROZEN).parent.mkdir(exist_ok=True)
        shutil.copyfile(place / "frozen.index", folder / FROZEN)
        _save(place / "own", own)
        shutil.rmtree(folder / "variables")
        _merge(place, folder)


def replace_policy(source: Path, target: Path, policy: Mapping[str, np.ndarray], version: int) -> None:
    """Copies a SavedModel with other values in its policy.

    Args:
      source: a version's folder, divided.
      target: a folder that is not there; nothing of `source` is written to.
      policy: as of `read_policy`.
      version: what `model_version` says.

    Raises:
      ValueError: the values do not fit.
    """
    before = read_policy(source)
    if {n: v.shape for n, v in before.items()} != {n: np.shape(v) for n, v in policy.items()}:
        raise ValueError(f"{source}: expected values of the {len(before)} variables of its policy, got others.")
    shutil.copytree(source, target, copy_function=_link, ignore=_leave_out)
    with _beside(target) as place:
        shutil.copyfile(source / FROZEN, place / "frozen.index")
        _link(source / SHARED[0], place / "frozen.data-00000-of-00001")
        own = {f"{name}{_VALUE}": np.asarray(value, before[name].dtype) for name, value in policy.items()}
        _save(place / "own", {**own, f"{_VERSION}{_VALUE}": np.int64(version)})
        _merge(place, target)


def read_policy(folder: Path) -> dict[str, np.ndarray]:
    """Variable -> value, `policy/0`, `policy/1` and so on in the order of the exported module's list.

    Raises:
      ValueError: the folder is no divided SavedModel.
    """
    found = {name.removesuffix(_VALUE): value for name, value in _read(folder, _POLICY).items()}
    if not found:
        raise ValueError(f"{folder}: expected the variables of a policy, got none; export again: make export.")
    return {f"{_POLICY}{place}": found[f"{_POLICY}{place}"] for place in range(len(found))}


def _is_own(name: str) -> bool:
    return name.startswith(_POLICY) or name == f"{_VERSION}{_VALUE}"


def _read(folder: Path, start: str = "") -> dict[str, np.ndarray]:
    try:
        reader = tf.train.load_checkpoint(str(folder / PREFIX))
        names = [name for name in reader.get_variable_to_shape_map() if name.startswith(start)]
        return {name: reader.get_tensor(name) for name in names}
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{folder}: expected the variables of a SavedModel, got: {error}.") from error


def _save(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    names = sorted(tensors)
    values = [tf.constant(tensors[name]) for name in names]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)


def _merge(place: Path, folder: Path) -> None:
    """Both bundles become one; their data files are moved, not copied."""
    (folder / "variables").mkdir()
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(place / "frozen"), str(place / "own")], destination_prefix=str(folder / PREFIX)
    )


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A scratch folder on the same disk."""
    with tempfile.TemporaryDirectory(prefix=".bundle.", dir=folder.parent) as place:
        yield Path(place)


def _leave_out(_: str, names: list[str]) -> set[str]:
    return {"variables", "manifest.json"} & set(names)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
