"""TensorFlow Serving's own REST form: what speaks to it speaks to this server without a change."""

import asyncio
import base64
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
MODEL = f"/v1/models/{NAME}"
SIGNATURE = "serving_default"
WIDE = ("history", "history_event", "history_time", "attributes", "exclude")
INTEGERS = {"history_time": "DT_INT64", "request_time": "DT_INT64", "k": "DT_INT32"}
OUTPUTS = {  # kind, and sizes after the rows
    "item_ids": ("DT_STRING", -1),
    "scores": ("DT_FLOAT", -1),
    "propensities": ("DT_FLOAT", -1),
    "because": ("DT_STRING", -1, 3),
    "intent": ("DT_STRING",),
    "emotion": ("DT_STRING",),
    "sentiment": ("DT_STRING",),
    "intent_probability": ("DT_FLOAT",),
    "emotion_probability": ("DT_FLOAT",),
    "model_version": ("DT_STRING",),
}
EMPTY = {"item_ids": "", "scores": -math.inf, "propensities": 0.0, "because": ["", "", ""]}
router = APIRouter()


@router.post(f"{MODEL}:predict")
@router.post(f"{MODEL}/versions/{{version}}:predict")
@router.post(f"{MODEL}/labels/{{label}}:predict")
async def predict(request: Request) -> Response:
    """{"instances": [{...}, ...]} or {"inputs": {name: [...], ...}}: the inputs of `serving_default`.

    A text may be {"b64": its base64}.
    """
    parts: Parts = request.app.state.parts
    facts = _served(request)
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


@router.get(f"{MODEL}/metadata")
@router.get(f"{MODEL}/versions/{{version}}/metadata")
@router.get(f"{MODEL}/labels/{{label}}/metadata")
async def metadata(request: Request) -> JSONResponse:
    """Name, version, inputs and outputs of the model."""
    facts = _served(request)
    widths = {"history": facts.max_history, "attributes": facts.max_attributes, "exclude": facts.max_exclude}
    widths |= dict.fromkeys(("history_event", "history_time"), facts.max_history)
    inputs = {
        f.name: _tensor(INTEGERS.get(f.name, "DT_STRING"), *filter(None, [widths.get(f.name)])) for f in fields(Ask)
    }
    outputs = {name: _tensor(kind, *sizes) for name, (kind, *sizes) in OUTPUTS.items()}
    definition = {SIGNATURE: {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict"}}
    return JSONResponse(
        {
            "model_spec": {"name": NAME, "signature_name": "", "version": facts.version},
            "metadata": {"signature_def": {"signature_def": definition}},
        }
    )


@router.get(MODEL)
@router.get(f"{MODEL}/versions/{{version}}")
@router.get(f"{MODEL}/labels/{{label}}")
async def status(request: Request) -> JSONResponse:
    """Which version is served."""
    model = request.app.state.parts.model
    state = "AVAILABLE" if model.ready else "LOADING"
    version = _served(request).version if model.facts else "0"
    error = {"error_code": "OK", "error_message": ""}
    return JSONResponse({"model_version_status": [{"version": version, "state": state, "status": error}]})


def _served(request: Request) -> Facts:
    """Of the version that is served, where the path asks for no other."""
    parts: Parts = request.app.state.parts
    facts, label = parts.model.facts, parts.settings.label
    if facts is None:
        raise ModelUnavailableError("the model is being loaded; ask again in a moment")
    asked = request.path_params
    if asked.get("version", facts.version) != facts.version or asked.get("label", label) != label:
        message = f"{NAME}: expected version {facts.version} or label {label}, got another; only what serves is asked."
        raise RefusedError(404, message)
    return facts


def _tensor(kind: str, *sizes: int) -> dict[str, Any]:
    """A tensor of rows, for the metadata; -1 = any size."""
    return {"dtype": kind, "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in (-1, *sizes)]}}


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
    for name, limit in zip(WIDE, (facts.max_history,) * 3 + (facts.max_attributes, facts.max_exclude), strict=True):
        check_size(name, len(row[name]) if isinstance(row[name], list) else 0, limit, "values")
    row = {name: _decoded(name, value) for name, value in row.items()}
    text, most = row["utterance"], min(parts.settings.max_k, facts.candidates)
    check_size("utterance", len(text) if isinstance(text, str) else 0, parts.settings.max_utterance, "characters")
    for name, value in row.items():
        values = value if name in WIDE else [value]
        if not isinstance(values, list) or not all(_fits(name, v) for v in values):
            raise RefusedError(400, f"{name}: expected {'integers' if name in INTEGERS else 'texts'}, got others.")
    if row["k"] > most:
        raise RefusedError(400, f"k: expected at most {most} items, got {row['k']}; ask for fewer.")
    return Ask(**{**row, "k": max(row["k"], 0)})


def _decoded(name: str, value: Any) -> Any:
    """A value whose texts are texts, where they came as {"b64": base64}; what is neither is left as it is."""
    if name in WIDE and isinstance(value, list):
        return [_decoded(name, each) if isinstance(each, dict) else each for each in value]
    if not isinstance(value, dict) or set(value) != {"b64"}:
        return value
    try:
        return base64.b64decode(value["b64"], validate=True).decode("utf-8")
    except (TypeError, ValueError) as error:
        message = f'{name}: expected under "b64" the base64 of a text in UTF-8, got something else; encode it again.'
        raise RefusedError(400, message) from error


def _fits(name: str, value: Any) -> bool:
    if name in INTEGERS:
        return type(value) is int and abs(value) < 2**53
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def _row(decided: Decided, width: int) -> dict[str, Any]:
    """Outputs of a row, padded to the widest as the signature does."""
    row = {name: getattr(decided, name) for name in OUTPUTS}
    return row | {name: row[name] + [empty] * (width - len(row[name])) for name, empty in EMPTY.items()}
