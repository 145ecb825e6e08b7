"""The event log's two tables, in words that SQLite and PostgreSQL share.

`sequence` numbers rows in the order in which they were committed, so that "everything up to event 512" means the same
today and in a replay. Ids of items lie in JSON, arrays as little-endian bytes.
"""

import sqlalchemy as sql

_NUMBER = sql.BigInteger().with_variant(sql.Integer, "sqlite")  # SQLite counts INTEGER keys alone
ID_LENGTH = 255  # characters of an id at most

metadata = sql.MetaData()

decisions = sql.Table(
    "decisions",
    metadata,
    sql.Column("sequence", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("decision_id", sql.String(ID_LENGTH), nullable=False, unique=True),
    sql.Column("time", sql.BigInteger, nullable=False, index=True, comment="seconds"),
    sql.Column("user_key", sql.String(64), nullable=False, index=True, comment="HMAC of the user's id"),
    sql.Column("model_version", sql.String(ID_LENGTH), nullable=False),
    sql.Column("fusion_version", sql.String(ID_LENGTH), nullable=False),
    sql.Column("history", sql.JSON, nullable=False, comment="item ids, oldest first"),
    sql.Column("candidate_ids", sql.JSON, nullable=False),
    sql.Column("item_ids", sql.JSON, nullable=False, comment="the slate"),
    sql.Column("propensities", sql.LargeBinary, nullable=False, comment="[n] float32, slot by slot"),
    sql.Column("embedding", sql.LargeBinary, nullable=False, comment="[D] float16; empty without an utterance"),
    sql.Column("context", sql.LargeBinary, nullable=False, comment="[C] float16"),
    sql.Column("logged", sql.Integer, nullable=False, comment="K', candidates whose features are kept"),
    sql.Column("features", sql.LargeBinary, nullable=False, comment="[K', F] float16 of the first candidates"),
    sql.Column("utterance", sql.Text, nullable=True, comment="only where serving.log_text is on"),
    sql.Index("ix_decisions_model_version_sequence", "model_version", "sequence"),  # a version's latest; of new logs
    sqlite_autoincrement=True,  # a number is never given twice, whatever is deleted
)

events = sql.Table(
    "events",
    metadata,
    sql.Column("sequence", _NUMBER, primary_key=True, autoincrement=True),
    sql.Column("event_id", sql.String(ID_LENGTH), nullable=False, unique=True),
    sql.Column("decision_id", sql.String(ID_LENGTH), nullable=False, index=True),
    sql.Column("item_id", sql.String(ID_LENGTH), nullable=False),
    sql.Column("event", sql.String(ID_LENGTH), nullable=False),
    sql.Column("value", sql.Float(53), nullable=False),
    sql.Column("time", sql.BigInteger, nullable=False, comment="seconds"),
    sqlite_autoincrement=True,
)
