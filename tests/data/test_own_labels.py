"""Labelled sentences of a user's own: what is read, what is told, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from tfrec_llm.config import Data, Text
from tfrec_llm.data import SENTIMENTS, load_domain, read_utterances
from tfrec_llm.data.texts import LONGEST, hash_split, normalise
from tfrec_llm.text.classification.tasks import make_tasks


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "own.csv"
    path.write_bytes(text.encode(encoding))
    return Data(utterances=str(path))


@pytest.mark.parametrize(
    ("one", "other"),
    [("ok \U0001f602", "ok \U0001f62d"), ("C++", "C#"), ("की", "का"), ("\U0001f602", "\U0001f62d"), ("5 $", "5 €")],
)
def test_emoji_symbols_and_marks_tell_a_users_texts_apart(tmp_path, one, other):
    rows = f"text,intent\n{one},a\n{other},b\n{one.upper()}!!,a\n，{other.replace(' ', '')} ?,b\n"
    corpus = read_utterances(write(tmp_path, rows))
    assert (corpus.texts.tolist(), corpus.intent.tolist()) == ([one, other], [0, 1])
    whole = f"text,intent\n{one},a\n{other},a\n" + "".join(f"say {i},{'ab'[i % 2]}\n" for i in range(60))
    split = read_utterances(write(tmp_path, whole)).split
    assert split[0] == split[1] or not normalise(one)  # alike but for signs: both learnt or both judged


def test_a_file_with_all_three_labels(tmp_path):
    corpus = read_utterances(
        write(
            tmp_path,
            "text,intent,sentiment,emotion\n"
            "play it,play,positive,\n"
            "找一部喜剧,find,neutral,joy\n"
            '"stop, please",,negative,anger\n'
            "Play it!,play,positive,\n",
        )
    )
    assert corpus.corpus == "files"
    assert corpus.texts.tolist() == ["play it", "找一部喜剧", "stop, please"]
    assert corpus.language.tolist() == ["en", "zh", "en"]
    assert corpus.labels == {"intent": ("find", "play"), "emotion": ("anger", "joy"), "sentiment": SENTIMENTS}
    assert corpus.intent.tolist() == [1, 0, -1]
    assert corpus.emotion.tolist() == [-1, 1, 0]
    assert corpus.sentiment.tolist() == [2, 1, 0]
    assert corpus.split.tolist() == ["train"] * 3  # each has a label that no other row has


def test_a_column_says_the_split_and_no_text_is_in_two(tmp_path):
    rows = "text,intent,split\nplay it,play,train\nPlay it!,play,test\nfind it,find,validation\nplay on,play,train\n"
    corpus = read_utterances(write(tmp_path, rows))
    assert dict(zip(corpus.texts.tolist(), corpus.split.tolist(), strict=True)) == {
        "Play it!": "test",
        "find it": "validation",
        "play on": "train",
    }


def test_without_a_column_hashes_say_the_split_but_no_label_goes_unlearnt(tmp_path, caplog):
    caplog.set_level("INFO")
    texts, split = [f"say {i}" for i in range(60)], hash_split([f"say {i}" for i in range(60)])
    lonely = {int(np.flatnonzero(split == name)[0]): f"only_{name}" for name in ("validation", "test", "train")}
    emotions = dict.fromkeys(np.flatnonzero(split == "test")[1:3], "rare")
    rows = [f"{text},{lonely.get(i, 'ab'[i % 2])},{emotions.get(i, 'joy')}" for i, text in enumerate(texts)]
    corpus = read_utterances(write(tmp_path, "\n".join(["text,intent,emotion", *rows]) + "\n"))
    moved = [*emotions, *(i for i, name in lonely.items() if name != "only_train")]
    assert set(np.flatnonzero(corpus.split != split)) == set(moved)
    assert set(corpus.split[moved]) == {"train"}
    assert "'only_test', 'only_validation', 'rare' are learnt from and none is judged" in caplog.text


def test_own_sentiments_and_own_column_names(tmp_path):
    settings = write(tmp_path, "sentence,mood\none,b\ntwo,a\nthree,c\n")
    settings = Data(utterances=settings.utterances, columns={"text": "sentence", "sentiment": "mood"})
    corpus = read_utterances(settings)
    assert corpus.labels == {"sentiment": ("a", "b", "c")}
    assert corpus.sentiment.tolist() == [1, 0, 2]
    assert corpus.intent is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sentence,intent\na,b\n", "column 'text' is missing"),
        ("text,label\nhello,b\n", "a column intent, emotion or sentiment"),
        ("text,intent\nhello,a\n ,b\n", "column 'text': expected a sentence, got at line 3"),
        (
            "text,intent\n!!!,a\n...,b\nhello,a\nHello,b\n",
            "none that can be used: 2 of 4 texts .* 2 come with different",
        ),
        ("text,intent\nhello,a\nbye,a\n", "column 'intent': expected at least two different labels, got a"),
        (
            "text,intent,split\na,b,train\nc,d,later\n",
            "column 'split': expected one of train, validation, test, got at line 3",
        ),
        ("text,intent,split\na,b,test\nc,d,test\n", "column 'split': expected rows of train, got none"),
        ("text,intent\n", "only a header"),
        ("", "empty file"),
    ],
)
def test_a_bad_file_is_refused_by_name_column_and_line(tmp_path, text, message):
    settings = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_utterances(settings)
    assert settings.utterances in str(caught.value)


@pytest.mark.parametrize("kind", ["emotion", "intent"])
def test_a_label_may_be_called_none(tmp_path, kind):
    assert read_utterances(write(tmp_path, f"text,{kind}\na,none\nb,joy\n")).labels == {kind: ("joy", "none")}


def test_rows_without_a_text_are_left_out_while_they_are_few(tmp_path, caplog):
    rows = "".join(f"say {i},{'ab'[i % 2]}\n" for i in range(9))
    corpus = read_utterances(write(tmp_path, "text,intent\n" + rows + ",a\n"))
    assert len(corpus.texts) == 9
    assert "1 rows have no text and are left out, the first at line 11" in caplog.text


def test_splits_are_read_however_they_are_written(tmp_path):
    rows = "a,x,Train\nb,y,training\nc,x,val\nd,y,DEV\ne,x,Test\nf,y,valid\n"
    corpus = read_utterances(write(tmp_path, "text,intent,split\n" + rows))
    assert corpus.split.tolist() == ["train", "train", "validation", "validation", "test", "validation"]


def test_a_long_text_does_not_widen_the_others(tmp_path):
    corpus = read_utterances(write(tmp_path, f"text,intent\n{'long ' * 5000},a\nshort,b\n"))
    assert corpus.texts.dtype == object
    assert sorted(map(len, corpus.texts)) == [5, 8000]


def test_whole_numbers_of_parquet_are_labels_without_a_point(tmp_path):
    texts = ["one", "two", "three", "four", 5.0]
    frame = pd.DataFrame({"text": list(map(str, texts)), "intent": [1, 2, None, 2, 1], "emotion": [0.5, 1, 1, 1, None]})
    frame["intent"] = frame["intent"].astype(np.float32)
    frame.to_parquet(tmp_path / "own.parquet")
    corpus = read_utterances(Data(utterances=str(tmp_path / "own.parquet")))
    assert corpus.labels == {"intent": ("1", "2"), "emotion": ("0.5", "1")}
    assert corpus.intent.tolist() == [0, 1, -1, 1, 0]


def test_rows_of_one_text_add_their_labels_up(tmp_path):
    """Two rows of one text, an intent in one and a sentiment in the other; a third text comes with two intents."""
    rows = "buy it,buy,,\nBuy it!,,neutral,\nlook,find,,joy\nlook,find,,\nstop,buy,,\nstop,find,,\nhm,,,anger\n"
    corpus = read_utterances(write(tmp_path, "text,intent,sentiment,emotion\n" + rows + "oh,,negative,\n"))
    assert corpus.texts.tolist() == ["buy it", "look", "hm", "oh"]
    assert corpus.intent.tolist() == [0, 1, -1, -1]
    assert corpus.sentiment.tolist() == [1, -1, -1, 0]
    assert corpus.emotion.tolist() == [-1, 1, 0, -1]


def test_many_contrary_labels_are_a_warning(tmp_path, caplog):
    caplog.set_level("INFO")
    for count, level in ((300, "INFO"), (10, "WARNING")):  # 2 rows of 302 and of 12
        caplog.clear()
        rows = "".join(f"say {i},{'ab'[i % 2]}\n" for i in range(count))
        read_utterances(write(tmp_path, "text,intent\nhello,a\nhello,b\n" + rows))
        (record,) = [record for record in caplog.records if "2 come with different labels" in record.message]
        assert record.levelname == level


def test_a_cell_may_have_several_labels(tmp_path):
    rows = "so good,love | joy,buy\nwell,,buy\nugh,anger,find|\nWell!,joy,find\n"
    corpus = read_utterances(write(tmp_path, "text,emotion,intent\n" + rows))
    assert corpus.labels == {"intent": ("buy", "find"), "emotion": ("anger", "joy", "love")}
    assert corpus.texts.tolist() == ["so good", "ugh"]  # the other text comes with two different intents
    assert corpus.emotion.tolist() == [[False, True, True], [True, False, False]]
    assert corpus.intent.tolist() == [[True, False], [False, True]]
    single = read_utterances(write(tmp_path, "text,emotion,intent\none,joy,buy\ntwo,anger,find\n"))
    assert single.intent.tolist() == [0, 1]


@pytest.mark.parametrize(
    "cell", ["joy,love", "love; joy", "joy/love", "joy、love", "love｜joy", '["joy", "love"]', "['joy']", "joy，love"]
)
def test_labels_parted_by_another_sign_are_several(tmp_path, caplog, cell):
    frame = pd.DataFrame({"text": [f"say {i}" for i in range(6)], "emotion": ["joy", "love", cell, cell, "joy", "hm"]})
    frame.to_csv(tmp_path / "own.csv", index=False)
    corpus = read_utterances(Data(utterances=str(tmp_path / "own.csv")))
    assert corpus.labels["emotion"] == ("hm", "joy", "love")
    named = [part for part in ("joy", "love") if part in cell]
    found = corpus.emotion[2]
    names = [corpus.labels["emotion"][found]] if found.ndim == 0 else np.array(corpus.labels["emotion"])[found].tolist()
    assert names == named
    (message,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert f"column 'emotion': 2 cells such as {cell!r} are taken for" in message
    assert "write | between" in message


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("[2 14]", "[27]", "[3 2]"), [["14", "2"], ["27"], ["2", "3"]]),
        (("[very good]", "[bad]", "[very good, bad]"), [["very good"], ["bad"], ["bad", "very good"]]),
        (("['very sad']", "['glad', 'very sad']", "[]"), [["very sad"], ["glad", "very sad"], []]),
    ],
)
def test_a_column_of_lists_holds_several_labels(tmp_path, cells, expected):
    pd.DataFrame({"text": list("abc"), "emotion": cells}).to_csv(tmp_path / "own.csv", index=False)
    corpus = read_utterances(Data(utterances=str(tmp_path / "own.csv")))
    names = np.array(corpus.labels["emotion"])
    assert [sorted(names[row].tolist()) for row in corpus.emotion] == expected


def test_a_label_with_a_comma_of_its_own_is_no_warning(tmp_path, caplog):
    rows = 'one,"yes, please"\ntwo,yes\nthree,and/or\nfour,no\n'
    read_utterances(write(tmp_path, "text,intent\n" + rows))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_labels_that_differ_in_case_alone_are_one(tmp_path, caplog):
    rows = "one,Buy,joy|Love\ntwo,buy,Joy\nthree,buy,love\nfour,find,joy\nfive,,love\n"
    corpus = read_utterances(write(tmp_path, "text,intent,emotion\n" + rows))
    assert corpus.labels == {"intent": ("buy", "find"), "emotion": ("joy", "love")}
    assert corpus.intent.tolist() == [0, 0, 0, 1, -1]
    assert corpus.emotion.tolist() == [[True, True], [True, False], [False, True], [True, False], [False, True]]
    assert "column 'intent': labels that differ in case alone count as one (1): 'Buy', 'buy' as 'buy'." in caplog.text
    assert "'Joy', 'joy' as 'joy'; 'Love', 'love' as 'love'." in caplog.text


def test_several_labels_become_a_multi_label_task_and_single_rows_are_served(tmp_path):
    rows = "".join(f"say {i},{('joy', 'joy|pride', 'pride')[i % 3]}\n" for i in range(30))
    corpus, domain = read_utterances(write(tmp_path, "text,emotion\n" + rows)), load_domain("video")
    tasks = {task.name: task for task in make_tasks([corpus], domain, Text(), 1)}
    assert tasks["emotion_files"].targets.sum(axis=1).tolist() == [1, 2, 1] * 10
    served = tasks["emotion"]
    assert {int(text.split()[1]) % 3 for text in served.texts} == {0, 2}
    assert set(served.targets.tolist()) == {domain.emotions.index("joy"), len(domain.emotions)}


def test_a_giant_text_is_cut_and_takes_no_room_from_the_others(tmp_path):
    rows = [f"say {i},{'ab'[i % 2]}" for i in range(500)]
    corpus = read_utterances(write(tmp_path, "\n".join(["text,intent", "x" * 1_000_000 + ",a", *rows]) + "\n"))
    assert len(corpus.texts[0]) == LONGEST
    assert corpus.texts.nbytes < 20_000_000


def test_what_is_left_out_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    read_utterances(write(tmp_path, "text,intent\n!!!,a\nhello,a\nbye,b\n"))
    assert "1 of 3 texts have nothing but punctuation, 0 come with different labels: left out" in caplog.text


def test_many_texts_of_punctuation_are_a_warning(tmp_path, caplog):
    read_utterances(write(tmp_path, "text,intent\n!!!,a\nhello,a\nbye,b\n"))
    assert [record.levelname for record in caplog.records if "punctuation" in record.message] == ["WARNING"]


def test_a_wrong_encoding_and_no_path(tmp_path):
    with pytest.raises(ValueError, match=r"line 2.*UTF-8"):
        read_utterances(write(tmp_path, "text,intent\ncaf\u00e9,a\nbye,b\n", "latin-1"))
    with pytest.raises(ValueError, match=r"data\.utterances"):
        read_utterances(Data())
