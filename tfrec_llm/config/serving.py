"""The settings of the application server."""

from dataclasses import dataclass

from tfrec_llm.config.reader import setting

MOST_HISTORY = 20_000  # items of a history that any setting may let in: more take a tenth of a second to check


@dataclass(frozen=True)
class Serving:
    """Where requests come in, how long they may take and be, and what is kept of them."""

    host: str = setting("127.0.0.1", "address to listen on; 0.0.0.0 = every one of this machine")
    port: int = setting(8500, "port to listen on; 0 = one that is free", low=0, high=65_535)
    log: str = setting("", "event log: a URL of SQLAlchemy; empty = SQLite, <run>/log.db")
    log_candidates: int = setting(50, "first candidates of a decision whose features are logged", low=1)
    log_text: bool = setting(False, "utterances are logged as they were said")
    log_wait_ms: float = setting(25.0, "how long a request waits for an event log that is locked", low=1)
    retention_days: int = setting(0, "decisions and their events are deleted after so many days; 0 = never", low=0)
    timeout_ms: float = setting(1000.0, "a request that is not answered by then gets 504", low=1)
    max_batch: int = setting(32, "requests decided together at most", low=1)
    batch_wait_ms: float = setting(0.0, "how long the first request of a batch waits for company", low=0, high=1000)
    max_waiting: int = setting(1000, "requests that wait for the model at most; more get 503", low=1)
    api_keys: tuple[str, ...] = setting((), "keys that open the server (header X-API-Key); empty = it is open")
    max_k: int = setting(100, "items that a request may ask for", low=1)
    max_history: int = setting(
        1000, "history items that a request may send; the newest that fit are used", low=1, high=MOST_HISTORY
    )
    max_utterance: int = setting(2000, "characters of an utterance", low=1)
    max_events: int = setting(500, "events in one feedback request", low=1)
    max_body: int = setting(1_000_000, "bytes of a request", low=1000)
    threads: int = setting(
        0, "threads of the model; 0 = all: one decides and the rest encode, if another engine does", low=0
    )
    learn: bool = setting(False, "the policy learns from the event log while it is served, see [learn]")
    follow_seconds: float = setting(
        1.0, "how often the server looks whether another version is labelled stable", low=0.05
    )
    golden_overlap: float = setting(
        0.2, "share of the exported version's golden slates that a version must show to be served", low=0, high=1
    )
    engine: str = setting(
        "auto",
        "what encodes utterances: export = the SavedModel itself; auto, openvino, tensorflow = text.engine's",
        choices=("auto", "export", "openvino", "tensorflow"),
    )
    label: str = setting("stable", "TF_SERVING_URL: which version is asked, by its label in models.config")
