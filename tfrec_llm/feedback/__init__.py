"""Decisions and what came of them: logged apart, joined into what agents and estimators learn from."""

from tfrec_llm.feedback.join import REWARD, Joined, JoinSettings, join
from tfrec_llm.feedback.records import Decisions, Events, check_decisions, check_events

__all__ = ["REWARD", "Decisions", "Events", "JoinSettings", "Joined", "check_decisions", "check_events", "join"]
