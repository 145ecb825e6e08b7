"""Is the system better than the others, on the same users? Paired differences as entries of metrics.json.

The key is `gain.<one>.over.<other>.<metric>`, e.g. `gain.system.over.baseline.ease.ndcg@10`: the value is the mean of
the system's metric less the baseline's, query by query.
"""

from collections.abc import Mapping

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.intervals import summarise_all
from tfrec_llm.evaluation.protocol import judge
from tfrec_llm.evaluation.report import Entry, entry
from tfrec_llm.types import Queries

STAGE, OVER = "gain", "over"
SYSTEM = "system"
WITHOUT_ATTRIBUTES = "system_without_attributes"  # the same system, told nothing of who the users are
WITHOUT_TIME = "system_without_time"  # the same system, not told when it is asked
BLEND = "blend"  # the candidates' own order, before fusion and ranker
REFIT = "system_refit"  # the system whose models have learnt from the validation too
PARTS = ("behaviour", "retrieval", BLEND, WITHOUT_ATTRIBUTES, WITHOUT_TIME, REFIT)  # held against the system


def gains(tops: Mapping[str, np.ndarray], queries: Queries, settings: Evaluate, seed: int) -> dict[str, Entry]:
    """The system against every baseline and against its own parts, by the paired bootstrap over users.

    So is the system that is not told when it is asked, against every baseline: those read no time either.

    It is that of `paired_bootstrap`, for all metrics at once: users are resampled with both of their values.

    Args:
      tops: name, e.g. "system" or "baseline.ease" -> [R, at least max(k, recall_at)] item indices, best first.
      queries: R of them.
      settings: cut-offs, resamples and the split that `queries` are of.
      seed: of the intervals.

    Returns:
      Key -> entry, empty where there is no system.
    """
    if SYSTEM not in tops:
        return {}
    baselines = [name for name in tops if name.startswith("baseline.")]
    pairs = [(SYSTEM, other) for other in (*baselines, *(part for part in PARTS if part in tops))]
    pairs += [(WITHOUT_TIME, other) for other in baselines if WITHOUT_TIME in tops]
    figures = {name: judge(tops[name], queries, settings.k, settings.recall_at) for name in {*sum(pairs, ())}}
    found = {}
    for one, other in pairs:
        ours, theirs = figures[one], figures[other]
        differences = {gain_key(f"{other}.{metric}", one): ours[metric] - theirs[metric] for metric in ours}
        for key, gap in summarise_all(differences, settings.bootstrap, seed).items():
            found[key] = entry(gap.value, gap.n, settings.split, gap.ci95)
    return found


def gain_key(other: str, one: str = SYSTEM) -> str:
    """The key of the difference to a row, e.g. "baseline.ease.ndcg@10"."""
    return f"{STAGE}.{one}.{OVER}.{other}"


def verdict(gain: Entry) -> str:
    """ "better" or "worse" where the whole interval lies on one side of zero, else "level"."""
    low, high = gain["ci95"] or (0.0, 0.0)
    return "better" if low > 0 else "worse" if high < 0 else "level"
