"""Emotion words and weak labels, on invented lists in the two files' formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data import EMOTIONS, emotion_words, load_domain, weak_emotion
from tfrec_llm.data.emotions import DUTIR_NAMES, NRC_NAMES, parse_dutir, parse_nrc

NRC = (
    b'{"happy": ["joy", "positive", "trust"], "grim": ["fear", "sadness"], "rage": ["anger"], "Wait": ["anticipation"]}'
)
DUTIR = """Name: 例子
Category:
- 乐
- 哀
Dictionary:
    乐:
    - 开心
    - 不开心不行
    哀:
    - 伤心
    - 伤心欲绝
    怒: \n    - '火大'
    好:
    - 开心
""".encode()
ENGLISH = {"happy": frozenset({"joy"}), "grim": frozenset({"fear", "sadness"}), "sad": frozenset({"sadness"})}
CHINESE = {"开心": frozenset({"joy"}), "伤心": frozenset({"sadness"}), "伤心欲绝": frozenset({"fear"})}


def label(name):
    return EMOTIONS.index(name)


def test_nrc_classes_become_our_names_and_what_has_none_is_left_out():
    assert parse_nrc(NRC) == {
        "happy": frozenset({"joy", "love"}),
        "grim": frozenset({"fear", "sadness"}),
        "rage": frozenset({"anger"}),
    }


def test_dutir_classes_become_our_names():
    assert parse_dutir(DUTIR) == {
        "开心": frozenset({"joy", "love"}),
        "不开心不行": frozenset({"joy"}),
        "伤心": frozenset({"sadness"}),
        "伤心欲绝": frozenset({"sadness"}),
        "火大": frozenset({"anger"}),
    }


def test_all_names_are_emotions_of_the_domains_too():
    names = ({*NRC_NAMES.values()} - {None}) | set(DUTIR_NAMES.values())
    assert names == set(EMOTIONS) - {"neutral"}
    assert load_domain("video").emotions == load_domain("retail").emotions == EMOTIONS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am happy", "joy"),
        ("HAPPY!", "joy"),
        ("I am not happy", None),
        ("I don’t feel happy", None),
        ("not now, happy", "joy"),  # a negation ends with its clause
        ("not bad but happy", "joy"),
        ("no one here was as happy", "joy"),  # more than three words away
        ("happy and sad", None),  # level
        ("happy, happy and sad", "joy"),
        ("grim and sad", "sadness"),  # 1.5 votes against .5
        ("unhappy", None),
        ("sad and very happy", "joy"),  # a stressed word counts twice
        ("sad and a bit happy", "sadness"),  # a weakened one half
        ("not really so very happy", None),  # words of degree do not lengthen the way
        ("not only happy", "joy"),
        ("no doubt happy", "joy"),
        ("never without happy people", "joy"),  # two negations
        ("", None),
    ],
)
def test_english_weak_labels(text, expected):
    assert weak_emotion([text], "en", ENGLISH).tolist() == [label(expected) if expected else -1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我很开心", "joy"),
        ("我不开心", None),
        ("我不太开心", None),
        ("不错，真是开心", "joy"),  # more than two characters away
        ("他伤心欲绝", "fear"),  # the longest word wins
        ("伤心又开心", None),
        ("没有字", None),
        ("非常开心", "joy"),  # the first character alone would be a negation
        ("特别开心", "joy"),
        ("我不是很开心", None),
        ("没有那么开心", None),
        ("不仅开心", "joy"),
        ("不得不开心", "joy"),  # two negations
        ("伤心，但是非常开心", "joy"),
        ("伤心，有点开心", "sadness"),
        ("不好。开心", "joy"),  # a negation ends with its clause
        ("", None),
    ],
)
def test_chinese_weak_labels(text, expected):
    assert weak_emotion([text], "zh", CHINESE).tolist() == [label(expected) if expected else -1]


@given(
    st.lists(st.text(alphabet="happy sad不没开心伤欲绝,.!'", max_size=30), max_size=5), st.sampled_from(["en", "zh"])
)
def test_labels_are_positions_or_none_for_any_text(texts, language):
    labels = weak_emotion(texts, language, ENGLISH if language == "en" else CHINESE)
    assert labels.shape == (len(texts),)
    assert set(labels.tolist()) <= {-1, *range(1, len(EMOTIONS))}


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="'en' or 'zh', got 'fr'"):
        weak_emotion(["bon"], "fr", {})
    with pytest.raises(ValueError, match="'en' or 'zh'"):
        emotion_words("fr")


@pytest.mark.slow
def test_the_real_lists():
    english, chinese = emotion_words("en"), emotion_words("zh")
    assert (len(english), len(chinese)) == (4220, 27319)
    assert english["abandon"] == {"fear", "sadness"}
    assert chinese["欢快"] == {"joy"}
    assert weak_emotion(["what a delightful surprise party"], "en").tolist() != [-1]
    assert weak_emotion(["气愤"], "zh").tolist() == [label("anger")]
