"""POST /feedback: events of items that were shown, kept all or not at all."""

import time
from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tfrec_llm.feedback import REWARD, EventRow
from tfrec_llm.serving.server.forms import EventForm, FeedbackAnswer, FeedbackForm
from tfrec_llm.serving.server.limits import check_size
from tfrec_llm.serving.server.parts import Parts
from tfrec_llm.serving.server.refusals import RefusedError

AHEAD = 60  # seconds that a clock may be ahead of ours
router = APIRouter()


@router.post("/feedback", response_model=FeedbackAnswer)
async def feedback(form: FeedbackForm, request: Request) -> JSONResponse:
    """Keeps events; the answer comes when they are on disk. The same events may be sent again."""
    parts: Parts = request.app.state.parts
    events, now = form.root, int(time.time())
    check_size("events", len(events), parts.settings.max_events, "events")
    for place, event in enumerate(events):
        _check_event(place, event, parts.events, now)
    shown = await parts.recorder.slates([event.decision_id for event in events])
    _check_shown(events, shown)
    rows = [
        EventRow(e.event_id, e.decision_id, e.item_id, e.event, e.value, now if e.time is None else e.time)
        for e in events
    ]
    kept = await parts.recorder.events(rows)
    if kept is None:
        raise RefusedError(404, "events: expected decisions that are in the log, got one that was deleted meanwhile.")
    for event in events:
        parts.measures.events.labels(event.event).inc()
    return JSONResponse(kept._asdict())


def _check_event(place: int, event: EventForm, known: Sequence[str], now: int) -> None:
    if event.event not in known:
        message = f"events.{place}.event: expected one of {', '.join(known)}, got another; correct its name."
        raise RefusedError(422, message)
    if event.event == REWARD and known.count(REWARD) == 1 and not 0 <= event.value <= 1:
        message = (
            f"events.{place}.value: expected a reward from 0 to 1, got another number; scale it, or send its event."
        )
        raise RefusedError(422, message)
    if event.time is not None and event.time > now + AHEAD:
        message = f"events.{place}.time: expected seconds up to now, got {event.time - now} s in the future."
        raise RefusedError(422, message)


def _check_shown(events: Sequence[EventForm], shown: Mapping[str, Sequence[str]]) -> None:
    for place, event in enumerate(events):
        if event.decision_id not in shown:
            message = f"events.{place}.decision_id: expected one that /recommend gave, got another; nothing was kept."
            raise RefusedError(404, message)
        if event.item_id not in shown[event.decision_id]:
            message = f"events.{place}.item_id: expected an item that the decision showed, got another."
            raise RefusedError(422, message)
