"""A C program that knows nothing of Python loads the export and answers as Python does: a model server could, too."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from tensorflow.core.protobuf import saved_model_pb2

from tests.serving import foreign
from tfrec_llm import data

SOURCE = Path(__file__).with_name("load_export.c")
WHEEL = Path(tf.__file__).parent
FLOAT, STRING = tf.float32.as_datatype_enum, tf.string.as_datatype_enum


def compiler():
    """The command that compiles C: `cc`, else the one in the package ziglang."""
    if found := shutil.which("cc"):
        return [found]
    assert importlib.util.find_spec("ziglang"), "expected a C compiler, found none; run: pip install ziglang"
    return [sys.executable, "-m", "ziglang", "cc"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    built = tmp_path_factory.mktemp("native") / "load_export"
    command = [
        *compiler(),
        "-std=c11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-isystem{WHEEL / 'include'}",
        str(SOURCE),
    ]
    command += [str(WHEEL / "libtensorflow_cc.so.2"), str(WHEEL / "libtensorflow_framework.so.2")]
    command += [f"-Wl,-rpath,{WHEEL}", "-o", str(built)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return built


@pytest.fixture(scope="module")
def folder(smoke_run):
    return smoke_run / "export" / "1"


def signature_of(folder):
    """The tensors of `serving_default` as the meta graph names them."""
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return model.meta_graphs[0].signature_def["serving_default"]


def written(inputs, signature):
    """A request in the program's words, and the order of its outputs."""
    lines, wanted = [], sorted(signature.outputs)
    for name, values in inputs.items():
        info, values = signature.inputs[name], values.numpy()
        lines.append(" ".join(map(str, ["in", info.name, info.dtype, values.ndim, *values.shape])))
        lines += [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values.ravel().tolist()]
    return "\n".join(lines + [f"out {signature.outputs[name].name}" for name in wanted]) + "\n", wanted


def heard(said, wanted):
    """What the program printed: output -> values, flat."""
    lines, answers = iter(said.split("\n")), {}
    for name in wanted:
        kind, count = map(int, next(lines).rsplit(" ", 2)[1:])
        values = [next(lines) for _ in range(count)]
        answers[name] = values if kind == STRING else np.array(values, np.float32)
        assert kind in (STRING, FLOAT)
    return answers


def test_a_c_program_answers_as_python_does(program, folder, smoke_run, tmp_path):
    items = list(data.read_names(smoke_run / "data")[1])
    past = {"items": items[:3], "events": ["rated_5"] * 3, "times": [10**9, 10**9 + 60, 10**9 + 90], "time": 10**9 + 99}
    serve, kept = tf.saved_model.load(str(folder)).signatures["serving_default"], {}

    def keep(**inputs):
        kept.update(inputs)
        return serve(**inputs)

    keep.structured_input_signature = serve.structured_input_signature
    ours = foreign.ask(keep, [{"text": "手机 something funny", "request": "a", "user": "7", **past}, {"k": 4, **past}])
    request, wanted = written(kept, signature_of(folder))
    (tmp_path / "request.txt").write_text(request, encoding="utf-8")
    libraries = sorted(map(str, (Path(tensorflow_text.__file__).parent / "python" / "ops").glob("_*.so")))
    command = [str(program), str(folder), str(tmp_path / "request.txt"), *libraries]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    theirs = heard(ended.stdout, wanted)
    assert {"item_ids", "propensities", "because", "intent"} <= set(theirs) == set(ours)
    for name, values in ours.items():
        flat = np.array(values).ravel()
        if isinstance(theirs[name], list):
            assert theirs[name] == flat.tolist()
        else:
            np.testing.assert_allclose(theirs[name], flat.astype(np.float32), atol=1e-5)
