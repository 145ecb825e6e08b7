"""GET /healthz and /metrics: for probes and Prometheus."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from tfrec_llm.serving.server.parts import Parts

router = APIRouter()


@router.get("/healthz")
async def healthz(request: Request) -> JSONResponse:
    """200 while requests can be answered, 503 while the model is being loaded."""
    parts: Parts = request.app.state.parts
    ready, facts = parts.model.ready, parts.model.facts
    said = {
        "status": "ok" if ready else "loading",
        "model_version": facts.version if facts else None,
        "encoder": facts.engine if facts else None,
        "event_log": "ok" if await parts.recorder.available() else "unavailable",
    }
    return JSONResponse(said, 200 if ready else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Counts and times for Prometheus."""
    return Response(request.app.state.parts.measures.text(), media_type=CONTENT_TYPE_LATEST)
