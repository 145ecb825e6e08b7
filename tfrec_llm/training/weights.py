"""Weights of a module as .npz, each under the path of attributes that leads to it.

Keras numbers its variable names by what else was built before in the process; the path (`lstm/cell/kernel`) depends on
the module alone, so a file written by the training is read by any process that builds the same module.
"""

import heapq
import itertools
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm.training import files


def named_variables(module: tf.Module) -> dict[str, tf.Variable]:
    """Every variable of a module, trainable or not, by its shortest path; metrics and optimizers are left out.

    Args:
      module: a `tf.Module`, Keras layers and models included. A Keras model must be built.

    Returns:
      Path -> variable. Where several paths lead to a variable, attributes are preferred to positions in Keras' lists.
    """
    named: dict[str, tf.Variable] = {}
    seen: set[int] = set()
    order = itertools.count()
    queue: list[tuple[int, int, int, str, Any]] = [(0, 0, next(order), "", module)]
    while queue:
        detour, depth, _, path, value = heapq.heappop(queue)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, tf.Variable):
            named[path] = value
        elif isinstance(value, tf.keras.metrics.Metric | tf.keras.optimizers.Optimizer):
            seen.update(id(v) for v in value.variables)
        else:
            for more, key, child in _children(value):
                heapq.heappush(queue, (detour + more, depth + 1, next(order), f"{path}/{key}".lstrip("/"), child))
    return named


def save_weights(module: tf.Module, path: str | Path) -> None:
    """Writes every variable of a module, whole or not at all.

    Args:
      module: a `tf.Module`, Keras layers and models included.
      path: the .npz file.

    Raises:
      ValueError: the module has no variables (a Keras model has none before it is built).
    """
    variables = named_variables(module)
    if not variables:
        raise ValueError(f"{path}: expected a module with variables, got none; call the model once before saving it.")
    files.write_npz(path, {name: _saved(variable) for name, variable in variables.items()})


def load_weights(module: tf.Module, path: str | Path, more: Mapping[str, np.ndarray] | None = None) -> None:
    """Reads every variable of a module, strictly: nothing is changed unless everything fits.

    Args:
      module: built as when its weights were saved, but for the rows of `more`.
      path: the .npz file.
      more: variable -> rows that go behind those of the file, as for items that came after the training.

    Raises:
      ValueError: a variable is missing, left over or of another shape; all of them are listed.
    """
    arrays, variables = files.read_npz(path), named_variables(module)
    for name, rows in (more or {}).items():
        if name in arrays and arrays[name].shape[1:] == np.shape(rows)[1:]:
            arrays[name] = np.concatenate([arrays[name], rows])
    wrong = [f"missing {name}" for name in sorted(variables.keys() - arrays.keys())]
    wrong += [f"left over {name}" for name in sorted(arrays.keys() - variables.keys())]
    for name in sorted(arrays.keys() & variables.keys()):
        expected, got = tuple(variables[name].shape), arrays[name].shape
        if expected != got:
            wrong.append(f"{name} expected {list(expected)}, got {list(got)}")
    if wrong:
        raise ValueError(
            f"{path}: expected the weights of {type(module).__name__}, got others: {'; '.join(wrong)}. Build the "
            "module with the settings it was trained with (a Keras model: call it once first), or train it again."
        )
    for name, variable in variables.items():
        variable.assign(tf.cast(arrays[name], variable.dtype))


def _saved(variable: tf.Variable) -> np.ndarray:
    value = variable.numpy()
    return value.astype(np.float32) if variable.dtype == tf.bfloat16 else value


def _children(value: Any) -> Iterator[tuple[int, str, Any]]:
    """What hangs below a value in the tree of modules: how far round the way is, name, child."""
    if isinstance(value, Mapping):
        yield from ((0, k, value[k]) for k in sorted(k for k in value if isinstance(k, str)))
    elif isinstance(value, list | tuple):
        yield from ((0, str(i), v) for i, v in enumerate(value))
    elif isinstance(value, tf.Module):
        hidden = _keras_attributes() if isinstance(value, tf.keras.layers.Layer) else frozenset()
        names = [n for n in vars(value) if not n.startswith("_self_") and n not in hidden]
        yield from ((0, n, vars(value)[n]) for n in sorted(names, key=lambda n: (n.startswith("_"), n)))
        if isinstance(value, tf.keras.Model):
            yield from ((1, f"layers/{i}", layer) for i, layer in enumerate(value.layers))
        if isinstance(value, tf.keras.layers.Layer) and (value.built or not isinstance(value, tf.keras.Model)):
            yield from ((2, f"weights/{i}", weight) for i, weight in enumerate(value.weights))


@cache
def _keras_attributes() -> frozenset[str]:
    """Keras' own book-keeping, found on a model that has nothing else."""
    return frozenset(vars(tf.keras.Model())) | frozenset(vars(tf.keras.layers.Layer()))
