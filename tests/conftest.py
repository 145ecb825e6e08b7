"""One run of `smoke.toml` from raw events to the export, shared by the tests of the pipelines and of serving."""

import pytest

from pipelines import train


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """A finished run folder; tests must leave it as it is."""
    run = tmp_path_factory.mktemp("smoke") / "run"
    train.main(["--config", "smoke", "--run", str(run)])
    return run
