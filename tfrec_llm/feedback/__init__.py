"""Decisions and what came of them: logged apart, joined into what agents and estimators learn from."""

from tfrec_llm.feedback.database import LogUnavailableError, sqlite_url
from tfrec_llm.feedback.event_log import EventLog, Forgotten, Kept, user_key
from tfrec_llm.feedback.join import REWARD, Joined, JoinSettings, join
from tfrec_llm.feedback.log_rows import DecisionRow, EventRow
from tfrec_llm.feedback.records import Decisions, Events, check_decisions, check_events

__all__ = [
    "REWARD",
    "DecisionRow",
    "Decisions",
    "EventLog",
    "EventRow",
    "Events",
    "Forgotten",
    "JoinSettings",
    "Joined",
    "Kept",
    "LogUnavailableError",
    "check_decisions",
    "check_events",
    "join",
    "sqlite_url",
    "user_key",
]
