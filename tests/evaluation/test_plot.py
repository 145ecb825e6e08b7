import re
from xml.etree import ElementTree

import pytest

from tfrec_llm.evaluation import entry, write_plot

REPORT = {
    "metrics": {
        "system.ndcg@10": entry(0.2, 10, "test", (0.1, 0.4)),
        "system.ndcg@10|tail": entry(0.9, 10, "test"),
        "baseline.<new>.ndcg@10": entry(0.3, 10, "test"),
        "gain.system.over.baseline.<new>.ndcg@10": entry(-0.1, 10, "test"),
    },
    "protocol": {},
    "run": {},
}


def test_bars_best_first_and_to_scale(tmp_path):
    path = write_plot(REPORT, tmp_path / "plots" / "ndcg.svg")
    root = ElementTree.parse(path).getroot()
    names = [element.text for element in root if element.get("text-anchor") == "end"]
    assert names == ["baseline.<new>", "system"]
    # the widest end is .4 = 420 pixels: .3 is 315 and .2 is 210, its interval from 105 to 420, after 220 of labels
    bars = [element.get("width") for element in root if element.tag.endswith("rect")]
    assert bars == ["315.0", "210.0"]
    lines = [(element.get("x1"), element.get("x2")) for element in root if element.tag.endswith("line")]
    assert lines == [("535.0", "535.0"), ("325.0", "640.0")]


def test_an_unknown_metric(tmp_path):
    with pytest.raises(ValueError, match=re.escape("(ndcg@10, ndcg@10|tail), got 'hr@10'")):
        write_plot(REPORT, tmp_path / "hr.svg", "hr@10")
