"""What the server counts and times, in the words of Prometheus."""

import math
from collections.abc import Mapping, Sequence

import prometheus_client as prometheus

from tfrec_llm.serving.server.asks import Decided
from tfrec_llm.serving.server.drift import Drift

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SHARES = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0)
_SCORES = (-10.0, -5.0, -2.0, -1.0, -0.5, -0.2, -0.1, 0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Measures:
    """Every metric of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        counter, histogram = self._counter, self._histogram
        self.requests = counter("requests", "requests by route and status", "route", "status")
        self.request_seconds = histogram("request_seconds", "whole requests", _SECONDS, "route")
        self.part_seconds = histogram("part_seconds", "parts of a decision", _SECONDS, "part")
        self.batch_size = histogram("batch_size", "requests decided together", (1, 2, 4, 8, 16, 32, 64, 128))
        self.unlogged = counter("decisions_unlogged", "decisions answered without the event log")
        self.log_errors = counter("log_errors", "times that the event log was not available")
        self.worker_deaths = counter("worker_deaths", "model workers that died and were started again")
        self.versions = counter("versions", "model versions taken over (in_place, full) or refused", "way")
        self.drift = Drift()
        self._indexes = prometheus.Gauge(
            "tfrec_llm_drift", "population stability index against the export", ("of",), registry=self.registry
        )
        self.history_items = counter("history_items", "history items of requests by whether they are known", "known")
        self.intents = counter("intents", "intents heard", "intent")
        self.events = counter("events", "events kept, by type", "event")
        self.propensities = histogram("propensity", "propensities of what was shown", _SHARES)
        self.scores = histogram("score", "scores of what was shown", _SCORES)

    def decided(self, answers: Sequence[Decided], seconds: Mapping[str, float], queued: Sequence[float]) -> None:
        """Counts a batch.

        Args:
          answers: [B] its rows.
          seconds: of each part.
          queued: [B] seconds that each row waited.
        """
        self.batch_size.observe(len(answers))
        for wait in queued:
            self.part_seconds.labels("queue").observe(wait)
        for part, taken in seconds.items():
            self.part_seconds.labels(part).observe(taken)
        for answer in answers:
            if answer.intent:
                self.intents.labels(answer.intent).inc()
                self.drift.see("intent", answer.intent)
            for item, score, propensity in zip(answer.item_ids, answer.scores, answer.propensities, strict=True):
                if item and math.isfinite(score):
                    self.propensities.observe(propensity)
                    self.scores.observe(score)
                    self.drift.see("propensity", propensity)
                    self.drift.see("score", score)

    def text(self) -> bytes:
        """What `/metrics` answers."""
        for name, value in self.drift.indexes().items():
            self._indexes.labels(name).set(value)
        return prometheus.generate_latest(self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(f"tfrec_llm_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: Sequence[float], *labels: str) -> prometheus.Histogram:
        return prometheus.Histogram(f"tfrec_llm_{name}", about, labels, registry=self.registry, buckets=buckets)
