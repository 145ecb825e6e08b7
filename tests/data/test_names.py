"""The package's public names, loaded when they are first used."""

import subprocess
import sys

import pytest

from tfrec_llm import data


def test_every_public_name_is_there():
    assert all(getattr(data, name) is not None for name in data.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'load_datasets'"):
        data.load_datasets  # noqa: B018 - the access is the test


def test_reading_data_does_not_import_tensorflow():
    code = "import sys; from tfrec_llm.data import load_dataset, read_dataset; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
