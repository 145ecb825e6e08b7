"""A figure over time, drawn."""

import re

import pytest

from tfrec_llm.evaluation import write_curve


def test_points_means_and_marks(tmp_path):
    path = write_curve(
        [1.0, 3.0, 2.0, 4.0], tmp_path / "new" / "curve.svg", "reward < 5 & more", mean_of=2, marks=(2, 9)
    )
    text = path.read_text("utf-8")
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', text)]
    assert len(heights) == 4
    assert heights[3] < heights[1] < heights[2] < heights[0]  # the higher the value, the smaller y
    line = re.search(r'<polyline points="([^"]+)"', text)[1]
    low, high = 192.0, 48.0  # y of 0 and of 4
    means = [float(pair.split(",")[1]) for pair in line.split()]
    assert means == pytest.approx([low - (low - high) * mean / 4 for mean in (1, 2, 2.5, 3)], abs=0.1)
    assert text.count("<line ") == 1
    assert 'aria-label="reward &lt; 5 &amp; more"' in text


def test_without_values_it_says_so(tmp_path):
    with pytest.raises(ValueError, match="expected at least one value"):
        write_curve([], tmp_path / "curve.svg", "nothing")
