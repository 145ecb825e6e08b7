"""The bodies of requests and answers, checked strictly; sizes that the settings limit are checked in `limits`."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, RootModel, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from tfrec_llm.config.serving import MOST_HISTORY

MOST_FIELDS = 20  # of an object; each that is unknown would be one more error to build
_LATEST = 2**53  # seconds; what JSON and every database can hold exactly
_NO_NULL = r"^[^\x00]*$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_NO_NULL)]
Word = Annotated[str, StringConstraints(max_length=255, pattern=_NO_NULL)]
Text = Annotated[str, StringConstraints(pattern=_NO_NULL)]
Seconds = Annotated[int, Field(ge=0, lt=_LATEST)]
HistoryItem = Annotated[tuple[Word, Word, Seconds], Field(strict=False)]  # JSON has lists alone
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Asked(BaseModel):
    """An object that is asked; what would take long to check is refused before it is."""

    model_config = _STRICT

    @model_validator(mode="before")
    @classmethod
    def _small(cls, value: Any) -> Any:
        if isinstance(value, dict):
            _check_count("fields", len(value), MOST_FIELDS)
            history = value.get("history")
            _check_count("history items", len(history) if isinstance(history, list) else 0, MOST_HISTORY)
        return value


class RecommendForm(Asked):
    """What `/recommend` is asked."""

    user_id: Id = Field(description="who asks; kept as a keyed hash alone")
    utterance: Text = Field("", description="what the user says")
    history: Annotated[list[HistoryItem], FailFast()] = Field(
        [], description='[item id, event type, seconds], oldest first; "" and 0 where unknown'
    )
    request_time: Seconds | None = Field(None, description="seconds since 1970, 0 = unknown; default: now")
    attributes: Annotated[list[Word], FailFast()] = Field([], description="of the user, in the order of the domain")
    exclude: Annotated[list[Word], FailFast()] = Field([], description="item ids that must not be shown")
    k: int = Field(10, ge=-_LATEST, lt=_LATEST, description="items wanted; 1 to serving.max_k")
    request_id: Word | None = Field(
        None, description='keys exploration: equal ids get equal answers, "" = none; default: drawn'
    )
    explain: bool = Field(False, description="the answer also says what else was considered, and what items are")


class Item(BaseModel):
    """One item of a slate."""

    id: str
    title: str | None = Field(description="null where the catalogue has none")
    score: float
    propensity: float = Field(description="probability of this item in this slot, given the slots above")
    because: list[str] = Field(description="history items without which it would score less, the strongest first")
    attributes: list[str] | None = Field(None, description="its values in the catalogue; only with explain")


class Considered(BaseModel):
    """One candidate that a slate was chosen from."""

    id: str
    title: str | None
    attributes: list[str]
    shown: bool = Field(description="whether it is in the slate")


class Heard(BaseModel):
    """What an utterance says."""

    label: str
    probability: float


class RecommendAnswer(BaseModel):
    """What `/recommend` answers."""

    decision_id: str | None = Field(description="for /feedback; null where the event log was not available")
    request_id: str
    items: list[Item]
    intent: Heard | None
    emotion: Heard | None
    sentiment: str | None
    model_version: str
    candidates: list[Considered] | None = Field(None, description="the first 20, best first; only with explain")


class EventForm(Asked):
    """One thing that a user did with an item that was shown."""

    event_id: Id = Field(description="equal ids are one event that was sent again")
    decision_id: Id
    item_id: Id
    event: Id = Field(description="an event type of the domain, or 'reward', whose value is the reward itself")
    value: float = Field(1.0, description="a rating, price or quantity; 1 where unknown")
    time: Seconds | None = Field(None, description="seconds since 1970; default: now")


class FeedbackForm(RootModel[Annotated[list[EventForm], Field(min_length=1), FailFast()]]):
    """One event, or a list of events that are kept all or not at all."""

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value


class FeedbackAnswer(BaseModel):
    """What `/feedback` answers."""

    new: int = Field(description="events kept now")
    known: int = Field(description="events that were kept before")


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        message = "expected at most {most} {what}, got {count}; send fewer"
        raise PydanticCustomError("too_many", message, {"what": what, "count": count, "most": most})
