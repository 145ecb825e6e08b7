"""CrossWOZ and MultiWOZ: what users say to a travel agent, in Chinese and English, with what they do by saying it.

The archive holds templates whose slot values are placeholders that contain the label, such as `[Inform+景点+名称]` or
`#HOTEL-INFORM-AREA#`. Before anything reads a text, every placeholder becomes a value of our own that depends on the
slot alone (never on act or domain) and on a generator. Texts that differ only in such values share a split.
"""

import json
import re
from collections.abc import Callable, Mapping

import numpy as np

from tfrec_llm.data import sources
from tfrec_llm.data.texts import collect, normalise
from tfrec_llm.types import Utterances

ARCHIVE = "convlab"
CROSSWOZ = "convlab/nlg/template/crosswoz/auto_user_template_nlg.json"
MULTIWOZ = "convlab/nlg/template/multiwoz/auto_user_template_nlg.json"
ACTS = ("General", "Inform", "Request", "Select")

_CHINESE = re.compile(r"\[([^\[\]]*)\]")
_ENGLISH = re.compile(r"#([^#\s]+)#")
_PLACES = (
    "翠湖公园",
    "望江楼",
    "清风阁",
    "月牙湾",
    "松林小馆",
    "东篱",
    "银杏里",
    "枫桥",
    "南山小筑",
    "白塔寺",
    "听雨轩",
    "长桥",
)
CHINESE_VALUES: Mapping[str, tuple[str, ...]] = {
    "名称": _PLACES,
    "出发地": _PLACES,
    "目的地": _PLACES,
    "地址": ("解放路12号", "人民路56号", "湖滨街3号", "西城区南街", "北大街88号", "中山路101号"),
    "电话": ("010-5550123", "010-5550456", "010-5550789"),
    "评分": ("4分", "4.5分以上", "4分以上", "5分", "3.5分", "4.7分左右"),
    "人均消费": ("50元以下", "50-100元", "100-150元", "80元", "200元左右", "150元以上"),
    "价格": ("200-300元", "300元左右", "400-500元", "500元以下", "800元", "1000元以上"),
    "门票": ("免费", "20元以内", "20-50元", "50元", "60-100元", "不超过100元"),
    "游玩时间": ("1小时", "2小时", "1小时-2小时", "半天", "3小时左右", "2小时-4小时"),
    "营业时间": ("早上九点到晚上九点", "全天", "10点到22点", "周一到周五"),
    "推荐菜": ("红烧肉", "清蒸鱼", "宫保鸡丁", "麻婆豆腐", "小笼包", "酸辣汤", "烤鸭", "凉拌黄瓜"),
    "酒店类型": ("舒适型", "经济型", "豪华型", "高档型"),
    "酒店设施": ("免费停车", "无线网络", "早餐", "接机", "健身房", "游泳池", "叫醒", "洗衣"),
    "车型": ("白色轿车", "黑色轿车", "商务车"),
    "车牌": ("京A0001", "京B0002", "京C0003"),
}
_CHINESE_GENERIC = ("这个", "那个", "平常那种")
_STATIONS = ("Oakham", "Millbrook", "Ashford", "Westbury", "Fairfield", "Kingsley", "Northgate", "Redhill")
_TIMES = ("9:15", "11:30", "13:45", "8:00", "17:20", "19:05", "noon")
ENGLISH_VALUES: Mapping[str, tuple[str, ...]] = {
    "FOOD": ("Italian", "Indian", "Chinese", "French", "Thai", "Turkish", "seafood", "vegetarian"),
    "TYPE": ("quiet place", "popular place", "small place", "family place", "well-known place"),
    "AREA": ("north", "south", "east", "west", "centre"),
    "PRICE": ("cheap", "moderate", "expensive", "mid-priced"),
    "STARS": ("2", "3", "4", "5"),
    "PEOPLE": ("2", "3", "4", "5", "6", "7"),
    "STAY": ("2", "3", "4", "5"),
    "DEST": _STATIONS,
    "DEPART": _STATIONS,
    "TIME": _TIMES,
    "ARRIVE": _TIMES,
    "LEAVE": _TIMES,
    "DAY": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "NAME": ("the Willow", "Green Lane", "Rosemary's", "the Old Bell", "River View", "Maple Court", "the Lantern"),
    "DEPARTMENT": ("cardiology", "children's", "eye", "x-ray"),
}
_ENGLISH_GENERIC = ("something", "this one", "the usual")


def load_crosswoz(seed: int) -> Utterances:
    """CrossWOZ user turns in Chinese; intent is multi-label over General, Inform, Request and Select.

    Args:
      seed: chooses the values that stand in the placeholders; the split of a template does not depend on it.
    """
    return parse_crosswoz(json.loads(sources.read_member(ARCHIVE, CROSSWOZ)), seed)


def parse_crosswoz(templates: Mapping[str, list[str]], seed: int) -> Utterances:
    """The turns of a table `Act+domain+slot*Act+domain+slot...` -> templates; unlabelled ones (key "") are left out."""
    rows = [(text, _acts(key)) for key, texts in sorted(templates.items()) if key for text in texts]
    rng = np.random.default_rng([seed, 1])
    filled = [fill(text, _CHINESE, chinese_slot, CHINESE_VALUES, _CHINESE_GENERIC, rng) for text, _ in rows]
    labels = np.array([[act in acts for act in ACTS] for _, acts in rows], dtype=bool).reshape(-1, len(ACTS))
    keys = [normalise(_CHINESE.sub("□值", text)) for text, _ in rows]
    return collect("crosswoz", filled, {"intent": (ACTS, labels)}, "zh", keys)


def load_multiwoz(seed: int) -> Utterances:
    """MultiWOZ user turns in English; intent is one of 17 acts such as Hotel-Inform or general-thank.

    About a hundred texts that the archive lists under two or more acts are left out: the rest have exactly one.

    Args:
      seed: chooses the values that stand in the placeholders; the split of a template does not depend on it.
    """
    return parse_multiwoz(json.loads(sources.read_member(ARCHIVE, MULTIWOZ)), seed)


def parse_multiwoz(templates: Mapping[str, Mapping[str, list[str]]], seed: int) -> Utterances:
    """The turns of a table act -> slots -> templates."""
    names = tuple(sorted(templates))
    rows = [
        (_untokenised(text), names.index(act))
        for act in names
        for _, texts in sorted(templates[act].items())
        for text in texts
    ]
    rng = np.random.default_rng([seed, 2])
    filled = [fill(text, _ENGLISH, english_slot, ENGLISH_VALUES, _ENGLISH_GENERIC, rng) for text, _ in rows]
    labels = np.array([label for _, label in rows], dtype=np.int32)
    keys = [normalise(_ENGLISH.sub(" slotvalue ", text)) for text, _ in rows]
    return collect("multiwoz", filled, {"intent": (names, labels)}, "en", keys)


def fill(
    text: str,
    placeholder: re.Pattern[str],
    slot_of: Callable[[str], str],
    values: Mapping[str, tuple[str, ...]],
    generic: tuple[str, ...],
    rng: np.random.Generator,
) -> str:
    """Puts a value into every placeholder, chosen by its slot and the generator alone.

    Args:
      text: a template.
      placeholder: a pattern whose first group is what stands between the marks.
      slot_of: the slot in that group, without act, domain or number.
      values: slot -> what can stand there.
      generic: what stands for a slot that is not in `values`.
      rng: advanced once for each placeholder.
    """

    def value(match: re.Match[str]) -> str:
        choices = values.get(slot_of(match[1]), generic)
        return choices[rng.integers(len(choices))]

    return placeholder.sub(value, text)


def chinese_slot(inner: str) -> str:
    """`Inform+酒店+酒店设施+是2` -> `酒店设施`."""
    parts = inner.split("+")
    return parts[2].rstrip("0123456789") if len(parts) > 2 else ""


def english_slot(inner: str) -> str:
    """`HOTEL-INFORM-AREA` -> `AREA`."""
    return inner.rpartition("-")[2].rstrip("0123456789").upper()


def _acts(key: str) -> frozenset[str]:
    acts = frozenset(part.partition("+")[0] for part in key.split("*"))
    if not acts <= set(ACTS):
        raise ValueError(f"{CROSSWOZ}: expected acts {', '.join(ACTS)}, got {sorted(acts - set(ACTS))} in {key!r}.")
    return acts


def _untokenised(text: str) -> str:
    """`I ' m` -> `I'm`, `do n't` -> `don't`, `well , yes .` -> `well, yes.`"""
    text = re.sub(r"\s+n\s?'\s?t\b", "n't", " ".join(text.split()))
    text = re.sub(r"(?<=\w)\s?'\s?(?=(?:m|s|d|re|ve|ll)\b)", "'", text)
    return re.sub(r"\s+(?=[.,?!;:])", "", text)
