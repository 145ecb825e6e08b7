"""The strict reader: what is refused, and that what is written reads back equal."""

from pathlib import Path

import pytest
import tomli_w

from tfrec_llm import config
from tfrec_llm.config import Component, Config, ConfigError

CONFIGS = sorted((Path(__file__).parents[1] / "pipelines" / "configs").glob("*.toml"))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_config_loads_and_reads_back_equal(path, tmp_path):
    loaded = config.load(path)
    again = write(tmp_path / "again.toml", tomli_w.dumps(config.to_table(loaded)))
    assert config.load(again) == loaded


def test_an_empty_file_is_the_defaults(tmp_path):
    assert config.load(write(tmp_path / "a.toml", "")) == Config()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sede = 1", "unknown key 'sede'; did you mean 'seed'"),
        ("[behaviour]\nepoch = 3", "did you mean 'epochs'"),
        ("[nothing]\na = 1", "unknown key 'nothing'"),
        ('seed = "one"', "expected int, got 'one'"),
        ("seed = true", "expected int, got True"),
        ("seed = -1", "at least 0, got -1"),
        ("[data]\nutterances_share = 1.5", "at most 1, got 1.5"),
        ("[data]\nutterances_share = nan", "expected a number, got nan"),
        ('[data]\nprotocol = "random"', "one of last_item, first_basket"),
        ("[text]\ncorpora = 3", "expected a list"),
        ("[text]\ncorpora = [3]", "expected str, got 3"),
        ("[text]\nencoder = 3", "expected a table with a name"),
        ("[text]\nencoder = { width = 3 }", "expected a table with a name"),
        ("text = 3", "expected a table of settings"),
        ("[data]\ncolumns = { a = 1 }", "expected str, got 1"),
        ("seed = ", "expected TOML in UTF-8"),
    ],
)
def test_what_is_refused_and_how(text, says, tmp_path):
    with pytest.raises(ConfigError, match=r"a\.toml") as caught:
        config.load(write(tmp_path / "a.toml", text))
    assert says in str(caught.value)


def test_a_missing_file_says_where_configs_are(tmp_path):
    with pytest.raises(ConfigError, match="pipelines/configs"):
        config.load(tmp_path / "none.toml")


def test_a_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes('name = "手机"'.encode("gb18030"))
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load(path)


def test_overrides_take_toml_values_and_bare_words(tmp_path):
    path = write(tmp_path / "a.toml", "[behaviour]\nepochs = 3")
    loaded = config.load(
        path, ["behaviour.epochs=7", "evaluate.split=test", "text.corpora=['snips']", "text.encoder=tiny", "seed=5"]
    )
    assert (loaded.behaviour.epochs, loaded.evaluate.split, loaded.seed) == (7, "test", 5)
    assert loaded.text.corpora == ("snips",)
    assert loaded.text.encoder == Component("tiny")


@pytest.mark.parametrize("override", ["seed", "=3", "seed.deeper=3", "behaviour.epochs=0"])
def test_bad_overrides_are_refused(override, tmp_path):
    with pytest.raises(ConfigError):
        config.load(write(tmp_path / "a.toml", "seed = 1"), [override])


def test_choose_builds_the_settings_of_the_named_part_only():
    registry = {"train": (config.Train, len)}
    settings, builder = config.choose(registry, Component("train", {"threads": 2}), "here")
    assert (settings.threads, builder) == (2, len)
    with pytest.raises(ConfigError, match="here: expected one of train, got 'plane'"):
        config.choose(registry, Component("plane"), "here")
    with pytest.raises(ConfigError, match=r"here \(train\): unknown key 'thread'"):
        config.choose(registry, Component("train", {"thread": 2}), "here")
