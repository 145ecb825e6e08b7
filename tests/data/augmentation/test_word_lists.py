"""Synonym lists in the two files' formats, on invented rows."""

import pytest

from tfrec_llm.data.augmentation import word_lists
from tfrec_llm.data.augmentation.word_lists import make_list, one_side, parse_cilin, parse_wordnet, side

CILIN = """Aa01A01= 甲甲 乙乙 丙
Aa01A02# 丁丁 戊戊
Aa01A03@ 己己
Aa01A04= 庚庚 乙乙
Aa01A05= 辛辛 壬壬 辛辛
""".encode()
SENSES = b"""bright%3:00:00:: 00000001 1 5
bright%5:00:00:radiant:00 00000002 2 9
buy%1:06:00:: 00000003 1 2
buy%2:40:00:: 00000004 1 30
glowing%5:00:00:radiant:00 00000002 1 2
ice_cream%1:13:00:: 00000005 1 1
gelato%1:13:00:: 00000005 1 1
pay%2:40:00:: 00000006 1 4
pay%2:41:00:: 00000004 2 3
purchase%2:40:00:: 00000004 1 10
emption%2:40:00:: 00000004 1 0
steal%1:06:00:: 00000003 1 3
by%2:40:00:: 00000004 1 3
1st%3:00:00:: 00000001 1 0
"""


def test_cilin_rows_of_equal_meaning_only_without_ambiguous_and_single_characters():
    assert parse_cilin(CILIN) == {"甲甲": ("乙乙",), "庚庚": ("乙乙",), "辛辛": ("壬壬",), "壬壬": ("辛辛",)}


def test_wordnet_takes_the_commonest_sense_and_common_words():
    # "bright" is more often the satellite that "glowing" is, "buy" more often the verb; "emption" was never tagged
    assert parse_wordnet(SENSES) == {
        "bright": ("glowing",),
        "glowing": ("bright",),
        "buy": ("pay", "purchase"),
        "purchase": ("buy", "pay"),
        "emption": ("buy", "pay", "purchase"),
        "steal": ("buy",),
    }  # "pay" is alone in its commonest sense, "by" is too short


def test_the_two_sides_share_no_replacement_and_lose_none():
    groups = {f"word{i}": tuple(f"word{j}" for j in range(40) if j != i) for i in range(40)}
    train, test = one_side(groups, "train"), one_side(groups, "test")
    put_in = [{word for others in table.values() for word in others} for table in (train, test)]
    assert put_in[0].isdisjoint(put_in[1])
    assert put_in[0] | put_in[1] == set(groups)


def test_seven_tenths_are_for_training():
    share = sum(side(f"word{i}") == "train" for i in range(4000)) / 4000
    assert share == pytest.approx(0.7, abs=0.03)


def test_a_folder_of_wordnet_is_read_instead_of_the_archive(tmp_path):
    (tmp_path / "index.sense").write_bytes(SENSES)
    both = {}
    for use in word_lists.USES:
        both |= word_lists.synonym_list("en", use, str(tmp_path)).words
    assert set(both) == {"bright", "glowing", "buy", "purchase", "emption", "steal"}
    with pytest.raises(ValueError, match="give the folder"):
        word_lists.synonym_list("en", "train", str(tmp_path / "nowhere"))


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="language en or zh"):
        word_lists.synonym_list("fr", "train")


def test_longest_word_by_first_character():
    assert make_list({"便宜货": ("x",), "便宜": ("y",), "大": ("z",)}).longest == {"便": 3, "大": 1}
