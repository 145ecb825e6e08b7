"""The settings of learning from feedback, while a run is served."""

from dataclasses import dataclass

from tfrec_llm.config.reader import setting


@dataclass(frozen=True)
class Learn:
    """What the policy learns from the event log, and when its next version serves."""

    batch_events: int = setting(256, "events, by their number in the log, after which the policy learns", low=1)
    window: int = setting(1800, "seconds after a decision in which events count for it; then it is learnt from", low=1)
    memory: int = setting(4096, "decisions that are learnt from each time, the latest", low=1)
    passes: int = setting(20, "passes over them", low=1)
    batch_size: int = setting(64, "decisions per step", low=1)
    overlap: float = setting(
        0.3,
        "how near a new policy must stay to the one before: effective share of the decisions, 1 = the same",
        low=0,
        high=1,
    )
    least_decisions: int = setting(64, "decisions without which nothing is learnt yet", low=2)
    judged: int = setting(4096, "held-out decisions that the gate looks at, the latest", low=2)
    watched: int = setting(
        400, "decisions of a new version after which its reward is held against the one before", low=2
    )
    tolerance: float = setting(
        0.1, "a new version whose reward per decision is surely so much lower, relatively, is rolled back", low=0
    )
    keep_versions: int = setting(5, "versions of the export that are kept, besides those that are labelled", low=2)
    poll_seconds: float = setting(1.0, "how often the log is looked at", low=0.05)
