"""A figure over time as a line in SVG, which needs no plotting library and shows in any browser or README."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

WIDTH, HEIGHT, MARGIN = 640, 240, 48  # pixels


def write_curve(
    values: Sequence[float], path: str | Path, title: str, mean_of: int = 10, marks: Sequence[int] = ()
) -> Path:
    """Draws points and the mean of the last ones.

    Args:
      values: one for each round, finite.
      path: the SVG to write.
      title: what they are.
      mean_of: rounds that a mean is taken of.
      marks: rounds before which something changed.

    Raises:
      ValueError: no values.
    """
    if not len(values):
        raise ValueError("curve: expected at least one value, got none; play at least one round.")
    heights = np.asarray(values, np.float64)
    means = np.array([heights[max(0, end - mean_of) : end].mean() for end in range(1, len(heights) + 1)])
    low, high = min(0.0, heights.min()), max(heights.max(), 1e-9)
    x = MARGIN + np.arange(len(heights)) * (WIDTH - 2 * MARGIN) / max(len(heights) - 1, 1)

    def y(value: np.ndarray | float) -> np.ndarray | float:
        return HEIGHT - MARGIN - (value - low) * (HEIGHT - 2 * MARGIN) / (high - low)

    line = " ".join(f"{left:.1f},{top:.1f}" for left, top in zip(x, y(means), strict=True))
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(title)}">',
        f'<text x="{MARGIN}" y="20" font-weight="bold">{escape(title)}</text>',
        *(f'<line x1="{x[mark]:.1f}" x2="{x[mark]:.1f}" y1="{MARGIN}" y2="{HEIGHT - MARGIN}" stroke="#bbb"/>'
          for mark in marks if mark < len(x)),
        *(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="2" fill="#999"/>'
          for left, top in zip(x, y(heights), strict=True)),
        f'<polyline points="{line}" fill="none" stroke="#0b6e5a" stroke-width="2"/>',
        f'<text x="4" y="{y(high) + 4:.1f}">{high:.3g}</text><text x="4" y="{y(low) + 4:.1f}">{low:.3g}</text>',
        f'<text x="{MARGIN}" y="{HEIGHT - 16}">round 1</text>',
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 16}" text-anchor="end">round {len(heights)}</text>',
        "</svg>",
    ]  # fmt: skip
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path
