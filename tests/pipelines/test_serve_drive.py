"""Simulated users come to servers of this machine alone."""

import dataclasses

import pytest

from pipelines import arguments, drive
from tfrec_llm import config as configs


def config_for(url):
    config = configs.load(arguments.CONFIGS / "smoke.toml")
    return dataclasses.replace(config, simulate=dataclasses.replace(config.simulate, server=url))


@pytest.mark.parametrize(
    "url",
    ["https://shop.example", "http://10.0.0.7:8500", "127.0.0.1:8500", "http://localhost.shop.example", "http://["],
)
def test_a_server_elsewhere_is_refused_before_anything_is_asked(tmp_path, url):
    with pytest.raises(ValueError, match=r"simulate\.server: expected a URL of this machine") as caught:
        drive.drive(config_for(url), tmp_path, None)
    assert str(caught.value).count("\n") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8500", "http://localhost:1/", "http://[::1]:8500", "http://127.8.9.1"]
)
def test_a_server_here_is_asked(url):
    drive._check_near(url)
