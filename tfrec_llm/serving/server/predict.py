"""TensorFlow Serving's own REST form: what speaks to it speaks to this server without a change."""

import asyncio
import json
import math
from dataclasses import fields
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tfrec_llm.serving.server.asks import Ask, Decided, Facts, ModelUnavailableError
from tfrec_llm.serving.server.limits import check_size
from tfrec_llm.serving.server.parts import Parts
from tfrec_llm.serving.server.refusals import RefusedError

NAME = "recommender"
SIGNATURE = "serving_default"
WIDE = ("history", "history_event", "history_time", "attributes", "exclude")
INTEGERS = ("history_time", "request_time", "k")
OUTPUTS = (
    "item_ids", "scores", "propensities", "because", "intent", "emotion", "sentiment", "intent_probability",
    "emotion_probability", "model_version",
)  # fmt: skip
EMPTY = {"item_ids": "", "scores": -math.inf, "propensities": 0.0, "because": ["", "", ""]}
router = APIRouter()


@router.post(f"/v1/models/{NAME}:predict")
async def predict(request: Request) -> Response:
    """{"instances": [{...}, ...]} or {"inputs": {name: [...], ...}}: the inputs of `serving_default`."""
    parts: Parts = request.app.state.parts
    facts = parts.model.facts
    if facts is None:
        raise ModelUnavailableError("the model is being loaded; ask again in a moment")
    body = _object(await request.body())
    if body.get("signature_name", SIGNATURE) != SIGNATURE:
        raise RefusedError(400, f"signature_name: expected {SIGNATURE}, got another; leave it out.")
    by_row = "instances" in body
    most = parts.settings.max_batch
    rows = _rows(body["instances"], most) if by_row else _columns(body["inputs"], most)
    asks = [_ask(row, parts, facts) for row in rows]
    async with asyncio.timeout(parts.settings.timeout_ms / 1000):
        decided = await asyncio.gather(*(parts.model.decide(ask) for ask in asks))
    width = max((len(row.item_ids) for row in decided), default=0)
    rows = [_row(row, width) for row in decided]
    columns = {name: [row[name] for row in rows] for name in OUTPUTS}
    return Response(
        json.dumps({"predictions": rows} if by_row else {"outputs": columns}), media_type="application/json"
    )


@router.get(f"/v1/models/{NAME}/metadata")
async def metadata(request: Request) -> JSONResponse:
    """Name, version and inputs of the model."""
    facts = request.app.state.parts.model.facts
    if facts is None:
        raise ModelUnavailableError("the model is being loaded; ask again in a moment")
    widths = {"history": facts.max_history, "attributes": facts.max_attributes, "exclude": facts.max_exclude}
    widths |= dict.fromkeys(("history_event", "history_time"), facts.max_history)
    inputs = {f.name: _tensor(f.name, widths.get(f.name)) for f in fields(Ask)}
    definition = {SIGNATURE: {"inputs": inputs, "method_name": "tensorflow/serving/predict"}}
    return JSONResponse(
        {
            "model_spec": {"name": NAME, "signature_name": "", "version": facts.version},
            "metadata": {"signature_def": {"signature_def": definition}},
        }
    )


@router.get(f"/v1/models/{NAME}")
async def status(request: Request) -> JSONResponse:
    """Which version is served."""
    model = request.app.state.parts.model
    state = "AVAILABLE" if model.ready else "LOADING"
    version = model.facts.version if model.facts else "0"
    error = {"error_code": "OK", "error_message": ""}
    return JSONResponse({"model_version_status": [{"version": version, "state": state, "status": error}]})


def _tensor(name: str, width: int | None) -> dict[str, Any]:
    integer = {"k": "DT_INT32"}.get(name, "DT_INT64") if name in INTEGERS else "DT_STRING"
    sizes = ["-1"] if width is None else ["-1", str(width)]
    return {"dtype": integer, "tensor_shape": {"dim": [{"size": size, "name": ""} for size in sizes]}}


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body, parse_constant=lambda name: math.nan)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "expected JSON in UTF-8, got something else; send an object.") from error
    if not isinstance(value, dict) or not ("instances" in value) ^ ("inputs" in value):
        raise RefusedError(400, 'expected an object with either "instances" or "inputs"; send one of them.')
    return value


def _rows(instances: Any, most: int) -> list[Any]:
    if not isinstance(instances, list) or not instances:
        raise RefusedError(400, "instances: expected a list of one row or more.")
    check_size("instances", len(instances), most, "rows")
    return instances


def _columns(inputs: Any, most: int) -> list[dict[str, Any]]:
    lists = isinstance(inputs, dict) and all(isinstance(column, list) for column in inputs.values())
    lengths = {len(column) for column in inputs.values()} if lists else set()
    if len(lengths) != 1 or 0 in lengths:
        raise RefusedError(400, "inputs: expected lists of one length, one entry for each row.")
    check_size("inputs", min(lengths), most, "rows")
    return [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]


def _ask(row: Any, parts: Parts, facts: Facts) -> Ask:
    """A row of inputs, checked; lists may be shorter than the signature's widths."""
    names = {f.name for f in fields(Ask)}
    if not isinstance(row, dict) or set(row) != names:
        raise RefusedError(400, f"expected rows with the inputs {', '.join(sorted(names))}, got others.")
    lists = {name: value for name, value in row.items() if isinstance(value, list)}
    for name, limit in zip(WIDE, (facts.max_history,) * 3 + (facts.max_attributes, facts.max_exclude), strict=True):
        check_size(name, len(lists.get(name, ())), limit, "values")
    for name, value in row.items():
        values = value if name in WIDE and name in lists else [value]
        if (name in WIDE) != (name in lists) or not all(_fits(name, v) for v in values):
            raise RefusedError(400, f"{name}: expected {'integers' if name in INTEGERS else 'texts'}, got others.")
    check_size("utterance", len(row["utterance"]), parts.settings.max_utterance, "characters")
    most = min(parts.settings.max_k, facts.candidates)
    return Ask(**{**row, "k": min(max(row["k"], 0), most)})


def _fits(name: str, value: Any) -> bool:
    if name in INTEGERS:
        return type(value) is int and abs(value) < 2**53
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def _row(decided: Decided, width: int) -> dict[str, Any]:
    """Outputs of a row, padded to the widest as the signature does."""
    row = {name: getattr(decided, name) for name in OUTPUTS}
    return row | {name: row[name] + [empty] * (width - len(row[name])) for name, empty in EMPTY.items()}
