"""POST /recommend: limits, decision, event log, answer."""

import asyncio
import time
import uuid

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tfrec_llm.feedback import DecisionRow, user_key
from tfrec_llm.serving.server.asks import Ask, Decided, ModelUnavailableError
from tfrec_llm.serving.server.forms import RecommendAnswer, RecommendForm
from tfrec_llm.serving.server.limits import check_recommend
from tfrec_llm.serving.server.parts import Parts

CONSIDERED = 20  # candidates that an explained answer names
router = APIRouter()


@router.post("/recommend", response_model=RecommendAnswer)
async def recommend(form: RecommendForm, request: Request) -> JSONResponse:
    """A slate for a user, and what the utterance says."""
    parts: Parts = request.app.state.parts
    facts = parts.model.facts
    if facts is None:
        raise ModelUnavailableError("the model is being loaded; ask again in a moment")
    check_recommend(form, parts.settings, facts)
    decision_id, now = uuid.uuid4().hex, int(time.time())
    ask = _ask(form, decision_id, now)
    _count_known(ask, parts)
    async with asyncio.timeout(parts.settings.timeout_ms / 1000):
        decided = await parts.model.decide(ask)
    kept = await parts.recorder.decision(_row(decision_id, now, ask, decided, parts))
    answer = _answer(decision_id if kept else None, ask, decided, parts)
    return JSONResponse(_explained(answer, decided, parts) if form.explain else answer)


def _ask(form: RecommendForm, decision_id: str, now: int) -> Ask:
    items, events, times = zip(*form.history, strict=True) if form.history else ((), (), ())
    return Ask(
        decision_id if form.request_id is None else form.request_id,
        form.user_id,
        form.utterance,
        items,
        events,
        times,
        now if form.request_time is None else form.request_time,
        form.attributes,
        form.exclude,
        form.k,
    )


def _count_known(ask: Ask, parts: Parts) -> None:
    known = sum(item in parts.titles for item in ask.history)
    for label, count in (("yes", known), ("no", len(ask.history) - known)):
        parts.measures.history_items.labels(label).inc(count)


def _row(decision_id: str, now: int, ask: Ask, decided: Decided, parts: Parts) -> DecisionRow:
    """What the event log keeps: of the user a keyed hash, of the utterance its embedding."""
    facts = parts.model.facts
    return DecisionRow(
        decision_id,
        now,
        user_key(parts.secret, ask.user_id),
        decided.model_version,
        decided.fusion_version or facts.fusion_version,
        ask.history[-facts.max_history :],
        decided.candidate_ids,
        decided.features,
        decided.context,
        decided.item_ids,
        decided.propensities,
        decided.embedding,
        ask.utterance if parts.settings.log_text and ask.utterance else None,
    )


def _answer(decision_id: str | None, ask: Ask, decided: Decided, parts: Parts) -> dict:
    rows = zip(decided.item_ids, decided.scores, decided.propensities, decided.because, strict=True)
    spoken = decided.embedding is not None
    return {
        "decision_id": decision_id,
        "request_id": ask.request_id,
        "items": [
            {
                "id": item,
                "title": parts.titles.get(item) or None,
                "score": score,
                "propensity": propensity,
                "because": [reason for reason in because if reason],
            }
            for item, score, propensity, because in rows
            if item
        ],
        "intent": {"label": decided.intent, "probability": decided.intent_probability} if spoken else None,
        "emotion": {"label": decided.emotion, "probability": decided.emotion_probability} if spoken else None,
        "sentiment": decided.sentiment if spoken else None,
        "model_version": decided.model_version,
    }


def _explained(answer: dict, decided: Decided, parts: Parts) -> dict:
    """An answer with the first candidates, and with what its items are."""
    about, shown = parts.page.item_attributes, set(decided.item_ids)
    considered = [item for item in decided.candidate_ids if item][:CONSIDERED]
    return answer | {
        "items": [item | {"attributes": about.get(item["id"], ())} for item in answer["items"]],
        "candidates": [
            {
                "id": item,
                "title": parts.titles.get(item) or None,
                "attributes": about.get(item, ()),
                "shown": item in shown,
            }
            for item in considered
        ],
    }
