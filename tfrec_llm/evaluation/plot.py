"""One metric of a report as a bar chart in SVG, which needs no plotting library and shows in any browser or README."""

from pathlib import Path
from xml.sax.saxutils import escape

from tfrec_llm.evaluation.gains import STAGE
from tfrec_llm.evaluation.report import Entry, Report

BAR, GAP, LABELS, WIDTH, MARGIN = 18, 8, 220, 420, 80  # pixels


def write_plot(report: Report, path: str | Path, metric: str = "ndcg@10") -> Path:
    """Draws every stage and baseline that has the metric, best first, with its 95 % interval.

    Args:
      report: from `read_report` or `merge_report`.
      path: the SVG to write.
      metric: the end of the keys, e.g. "ndcg@10" or "ndcg@10|tail".

    Raises:
      ValueError: no figure of that name.
    """
    figures, end = report["metrics"], f".{metric}"
    found = {key.removesuffix(end): value for key, value in figures.items() if key.endswith(end)}
    found = {name: value for name, value in found.items() if not name.startswith(f"{STAGE}.")}  # no differences
    if not found:
        ends = sorted({key.rpartition(".")[2] for key in report["metrics"]})
        raise ValueError(f"expected a metric of the report ({', '.join(ends) or 'it has none'}), got {metric!r}.")
    rows = sorted(found.items(), key=lambda item: (-item[1]["value"], item[0]))
    scale = WIDTH / (max(_end(value) for _, value in rows) or 1.0)
    height = MARGIN // 2 + len(rows) * (BAR + GAP)
    splits = ", ".join(sorted({value["split"] for _, value in rows}))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + WIDTH + MARGIN}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<text x="{LABELS}" y="18" font-weight="bold">{escape(metric)} ({escape(splits)})</text>',
        *(_bar(name, value, MARGIN // 2 + place * (BAR + GAP), scale) for place, (name, value) in enumerate(rows)),
        "</svg>",
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _end(value: Entry) -> float:
    return max(value["value"], *(value["ci95"] or [0.0]))


def _bar(name: str, value: Entry, top: int, scale: float) -> str:
    """One labelled bar with a line for the interval."""
    colour = "#b0b0b0" if name.startswith("baseline.") else "#3b6ea8"
    middle, length = top + BAR / 2, max(value["value"], 0.0) * scale
    low, high = (LABELS + max(end, 0.0) * scale for end in value["ci95"] or [value["value"]] * 2)
    return (
        f'<text x="{LABELS - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>'
        f'<text x="{LABELS + _end(value) * scale + 8:.1f}" y="{middle + 4:.1f}">{value["value"]:.3f}</text>'
    )
