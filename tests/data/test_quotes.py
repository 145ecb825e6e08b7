"""Quotes in a user's own files of labels: which are text, and what a stray one swallows."""

import pytest

from tests.data.test_own_labels import write
from tfrec_llm.config import Data
from tfrec_llm.data import read_utterances


def test_quotes_are_plain_text_in_tsv(tmp_path):
    (tmp_path / "own.tsv").write_text('text\tintent\n"say\ta\nit is 5" wide\tb\n"so"\ta\n\tb\n', encoding="utf-8")
    settings = Data(utterances=str(tmp_path / "own.tsv"))
    with pytest.raises(ValueError, match="column 'text': expected a sentence, got at line 5"):
        read_utterances(settings)
    (tmp_path / "own.tsv").write_text('text\tintent\n"say\ta\nit is 5" wide\tb\n"so"\ta\n', encoding="utf-8")
    assert read_utterances(settings).texts.tolist() == ['"say', 'it is 5" wide', '"so"']


def test_quotes_of_a_tsv_that_closes_them_all_are_those_of_csv(tmp_path):
    rows = '"text"\t"intent"\r\n"she said ""so"""\t"a"\r\n"5"" wide"\tb\r\nplain " one\ta\r\n""\tb\r\n'
    (tmp_path / "own.tsv").write_bytes(rows.encode())
    settings = Data(utterances=str(tmp_path / "own.tsv"))
    with pytest.raises(ValueError, match="column 'text': expected a sentence, got at line 5"):
        read_utterances(settings)
    (tmp_path / "own.tsv").write_bytes(rows.replace('""\tb\r\n', "").encode())
    assert read_utterances(settings).texts.tolist() == ['she said "so"', '5" wide', 'plain " one']


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("text,intent", 'fine,a\n"oh well,a\nbut then,b\nno" more,b\nbye,b\nhi,a\n'),
        ("intent,text", 'a,fine\na,"oh well\nb,but then\nb,no"\nb,bye\n'),
    ],
)
def test_rows_that_a_stray_quote_swallowed_are_a_warning(tmp_path, caplog, header, rows):
    read_utterances(write(tmp_path, f"{header}\n{rows}"))
    (message,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "1 texts span several lines that look like rows, the first at line 3; if a stray quote" in message
    caplog.clear()
    read_utterances(write(tmp_path, 'text,intent\n"two lines,\nas they were meant",a\nbye,b\n'))
    assert not caplog.records
