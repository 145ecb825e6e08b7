"""A function that writes tables for the tests of a user's own files."""

import pytest

HEADER = "user_id,item_id,timestamp,event,value"


@pytest.fixture
def write(tmp_path):
    """A function that writes rows as CSV and gives the path."""

    def write(*rows, header=HEADER, name="events.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
        return str(path)

    return write
