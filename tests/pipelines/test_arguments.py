"""What every program takes and how it fails: settings, run folders, and one sentence."""

import shutil

import pytest

from pipelines import arguments, prepare


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("seed=2 behaviour.epochs=3", ["seed=2", "behaviour.epochs=3"]),
        ("  seed=2  ", ["seed=2"]),
        ("", []),
        ("data.items=/my path/items.csv seed=3", ["data.items=/my path/items.csv", "seed=3"]),
        (
            'text.encoder={name = "bert", path="/a b=c"} seed=1',
            ['text.encoder={name = "bert", path="/a b=c"}', "seed=1"],
        ),
        ("evaluate.rivals=['gru', 'a b=c'] seed=2", ["evaluate.rivals=['gru', 'a b=c']", "seed=2"]),
        ('data.items="a b=c" seed=2', ['data.items="a b=c"', "seed=2"]),
        ("data.items=it's seed=2", ["data.items=it's", "seed=2"]),
        ('data.items="a \\" seed=1" seed=2', ['data.items="a \\" seed=1"', "seed=2"]),
        ("data.items=/x[1/items.csv seed=3", ["data.items=/x[1/items.csv", "seed=3"]),
        ("data.items=a]b.csv text.rows={a = 1, seed=2}", ["data.items=a]b.csv", "text.rows={a = 1, seed=2}"]),
        ("data.items=/my dir a=b/items.csv", ["data.items=/my dir a=b/items.csv"]),
        ("text.rows={files=5 seed=2", ["text.rows={files=5", "seed=2"]),
    ],
)
def test_several_settings_in_one_argument(text, settings):
    assert arguments.settings_of(text) == settings


def read(*argv):
    return arguments.read(arguments.parser("").parse_args(["--config", "smoke", *map(str, argv)]))


def test_settings_reach_the_config(tmp_path):
    config, run = read("--run", tmp_path, "--set", "seed=5 serving.api_keys=['a b', 'c']", "behaviour.epochs=7")
    assert (config.seed, config.serving.api_keys, config.behaviour.epochs, run) == (5, ("a b", "c"), 7, tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("serving.api_keys=[abc]", r"serving.api_keys: expected a list or table of TOML, got '\[abc\]'"),
        ("text.encoder={name=bert}", "text.encoder: expected a list or table of TOML"),
        ("seed=4294967296", "seed"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        read("--run", tmp_path, "--set", override)


def test_an_empty_name_is_no_run_folder(capsys):
    with pytest.raises(SystemExit):
        read("--run", "")
    assert "expected a folder, got an empty name" in capsys.readouterr().err


def prepare_smoke(config, run):
    prepare.main(["--config", str(config), "--run", str(run)])


def test_a_folder_that_has_a_stages_name_by_chance_is_no_run(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match="whose data is none of a run; name another"):
        prepare_smoke("smoke", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("named", [True, False])
def test_the_config_of_a_user_is_not_written_over(tmp_path, named):
    own = tmp_path / "config.toml"
    own.write_text("seed = 3  # mine\n")
    with pytest.raises(ValueError, match=r"with a config\.toml of your own"):
        prepare_smoke(own if named else "smoke", tmp_path)
    assert own.read_text() == "seed = 3  # mine\n"


def test_other_things_beside_a_run_do_no_harm(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "lost+found").mkdir()
    prepare_smoke("smoke", tmp_path)
    shutil.rmtree(tmp_path / "data")  # as if it had been stopped
    prepare_smoke(tmp_path / "config.toml", tmp_path)
    assert (tmp_path / "data" / "stage.json").exists()


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a b"), "error: a b\n"),
        (MemoryError(), "enough memory"),
        (ResourceExhaustedError("x"), "enough memory"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(capsys, monkeypatch, error, said):
    monkeypatch.delenv("TFREC_LLM_DEBUG", raising=False)

    def main(_):
        raise error

    with pytest.raises(SystemExit) as ended:
        arguments.program(main)
    assert (ended.value.code, said in capsys.readouterr().err) == (2, True)
