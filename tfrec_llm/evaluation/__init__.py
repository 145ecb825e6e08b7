"""Judges: the protocol, baselines without training code of ours, intervals, and the report that programs read.

`policies`, the off-policy estimators and the gate, is imported where it is needed.
"""

from tfrec_llm.evaluation.baselines import BASELINES, Builder
from tfrec_llm.evaluation.cold import BASELINES as COLD_BASELINES
from tfrec_llm.evaluation.cold import cold_figures
from tfrec_llm.evaluation.cold import shares as cold_shares
from tfrec_llm.evaluation.curve import write_curve
from tfrec_llm.evaluation.figures import figures
from tfrec_llm.evaluation.gains import gain_key, gains, verdict
from tfrec_llm.evaluation.groups import group_figures
from tfrec_llm.evaluation.intervals import Comparison, Figure, paired_bootstrap, summarise, summarise_all
from tfrec_llm.evaluation.plot import write_plot
from tfrec_llm.evaluation.protocol import Scorer, best, judge, select, top_items
from tfrec_llm.evaluation.report import Entry, Report, entry, merge_report, read_report
from tfrec_llm.evaluation.resources import Usage, measure, usage_entries
from tfrec_llm.evaluation.run_info import run_info
from tfrec_llm.evaluation.segments import Segment, segments
from tfrec_llm.evaluation.shown import ItemFacts, item_facts, judge_lists
from tfrec_llm.evaluation.table import format_table, print_table

__all__ = [
    "BASELINES",
    "COLD_BASELINES",
    "Builder",
    "Comparison",
    "Entry",
    "Figure",
    "ItemFacts",
    "Report",
    "Scorer",
    "Segment",
    "Usage",
    "best",
    "cold_figures",
    "cold_shares",
    "entry",
    "figures",
    "format_table",
    "gain_key",
    "gains",
    "group_figures",
    "item_facts",
    "judge",
    "judge_lists",
    "measure",
    "merge_report",
    "paired_bootstrap",
    "print_table",
    "read_report",
    "run_info",
    "segments",
    "select",
    "summarise",
    "summarise_all",
    "top_items",
    "usage_entries",
    "verdict",
    "write_curve",
    "write_plot",
]
