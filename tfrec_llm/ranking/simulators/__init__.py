"""Users who respond, fitted on training events: a trainer that agents learn with, a judge that only judges them."""

from tfrec_llm.ranking.simulators.played import Play, Policy, Visitors, play, session_metrics, taking_event
from tfrec_llm.ranking.simulators.stage import fit_simulator, make_sessions, shifted
from tfrec_llm.ranking.simulators.tables import ResponseTables
from tfrec_llm.ranking.simulators.world import Sessions, SessionState

__all__ = [
    "Play",
    "Policy",
    "ResponseTables",
    "SessionState",
    "Sessions",
    "Visitors",
    "fit_simulator",
    "make_sessions",
    "play",
    "session_metrics",
    "shifted",
    "taking_event",
]
