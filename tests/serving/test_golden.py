"""What a version must answer before it serves."""

import math

import pytest

from pipelines import stages
from tfrec_llm.serving.golden import QUERIES, check_golden, golden_rows, history_rows, spliced, write_golden

ROWS = [{"request_id": "", "utterance": text, "k": 3} for text in ("", "手机")]
GOOD = {
    "item_ids": [["a", "b", "c"], ["d", "e", ""]],
    "scores": [[3.0, 2.0, 1.0], [1.0, 0.5, -math.inf]],
    "propensities": [[1.0, 1.0, 1.0], [0.5, 0.2, 0.0]],
}


@pytest.fixture
def folder(tmp_path):
    write_golden(tmp_path, ROWS, lambda rows: GOOD)
    return tmp_path


def answering(**other):
    def ask(rows):
        assert rows == ROWS
        return {**GOOD, **other}

    return ask


def test_the_same_answers_and_other_orders_pass(folder, tmp_path):
    check_golden(folder, answering(), 1.0)
    check_golden(folder, answering(item_ids=[["c", "a", "b"], ["e", "d", ""]]), 1.0)
    check_golden(folder, answering(item_ids=[["a", "b", "x"], ["d", "y", ""]]), 0.58)  # (2/3 + 1/2) / 2 = .583
    (tmp_path / "other").mkdir()
    check_golden(tmp_path / "other", answering(), 1.0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"item_ids": [["a", "b", "c"], ["d", "", ""]]}, "as many items as when it was exported"),
        ({"scores": [[math.nan, 2.0, 1.0], [1.0, 0.5, 0.0]]}, "finite scores"),
        ({"propensities": [[1.0, 0.0, 1.0], [0.5, 0.2, 0.0]]}, r"propensities in \(0, 1\]"),
        ({"item_ids": [["a", "b", "x"], ["d", "y", ""]]}, "at least 59% of the items .* got 58%"),
    ],
)
def test_others_are_refused(folder, other, message):
    with pytest.raises(ValueError, match=message):
        check_golden(folder, answering(**other), 0.59)


def test_fewer_are_those_of_users_who_say_nothing(tmp_path):
    rows = [
        {"history": history, "utterance": said} for history, said in (([], ""), (["a"], "x"), (["a"], ""), (["b"], ""))
    ]
    slates = [["a"], ["b"], ["c"], ["d"]]
    write_golden(tmp_path, rows, lambda asked: {"item_ids": slates})
    seen = []

    def ask(asked):
        seen.extend(asked)
        return {"item_ids": [["c"]] * len(asked), "scores": [[1.0]] * len(asked), "propensities": [[1.0]] * len(asked)}

    check_golden(tmp_path, ask, 1.0, most=1)
    assert seen == rows[2:3]


def test_histories_are_spliced_from_those_of_many_users(smoke_run):
    dataset = stages.load_dataset(smoke_run)
    rows = golden_rows(dataset, 5)
    assert len(rows) == QUERIES
    assert (rows[0]["history"], rows[0]["utterance"]) == ([], "手机")
    _, real = history_rows(dataset, 5, QUERIES - 1)
    mine = [list(zip(row["history"], row["history_event"], strict=True)) for row in rows[1:]]
    theirs = [list(zip(row["history"], row["history_event"], strict=True)) for row in real]
    for place in range(5):
        assert sorted(row[place] for row in mine) == sorted(row[place] for row in theirs)
    assert not any(row in theirs for row in mine)
    assert {row["history_time"][-1] - row["request_time"] for row in rows[1:]} == {-3600}
    assert {row["request_time"] % 31_536_000 for row in rows[1:]} == {0}
    assert 0 < sum(row["utterance"] != "" for row in rows) < len(rows)


def test_where_few_histories_reach_they_end_and_nobodys_is_left():
    def row(name, length, time=10):
        items = [f"{name}{place}" for place in range(length)]
        return {"history": items, "history_event": [item.upper() for item in items], "request_time": time}

    rows = [row("a", 9, 0), row("b", 3), row("c", 12), row("d", 5), row("e", 4), row("f", 0)]
    found = spliced(rows)
    assert [len(one["history"]) for one in found] == [4, 3, 4, 4, 4, 0]
    for one, real in zip(found, rows, strict=True):
        assert not set(one["history"]) & set(real["history"])
        assert [item.upper() for item in one["history"]] == one["history_event"]
        assert [int(item[1:]) for item in one["history"]] == list(range(len(one["history"])))
    assert len({item[0] for item in found[0]["history"]}) > 1  # not one other's either
    assert found[0]["history_time"] == [0] * 4
    assert found[2]["history_time"] == [1] * 4
    assert spliced(rows[:3])[0]["history"] == []
