"""GET / and /page/...: the page, its files, and the facts that it starts from."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tfrec_llm.serving.server.asks import ModelUnavailableError
from tfrec_llm.serving.server.page.files import HEADERS, NAMES, read_file
from tfrec_llm.serving.server.parts import Parts
from tfrec_llm.serving.server.refusals import RefusedError

router = APIRouter()


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """The page."""
    return _sent("index.html")


@router.get("/page/facts")
async def facts(request: Request) -> JSONResponse:
    """What the page starts from: event types and what they are worth, the model, its limits."""
    parts: Parts = request.app.state.parts
    model, page, settings = parts.model.facts, parts.page, parts.settings
    if model is None:
        raise ModelUnavailableError("the model is being loaded; ask again in a moment")
    said = {
        "domain": page.domain,
        "events": [{"name": name, "reward": page.rewards.get(name)} for name in parts.events],
        "model_version": model.version,
        "candidates": model.candidates,
        "max_k": min(settings.max_k, model.candidates),
        "max_history": min(settings.max_history, model.max_history),
        "max_utterance": settings.max_utterance,
        "user_attributes": page.user_attributes,
        "titles_language": page.language,
        "exploration_floor": page.exploration_floor,
    }
    return JSONResponse(said)


@router.get("/page/{name}", include_in_schema=False)
async def page_file(name: str) -> Response:
    """A style sheet, a script or the icon."""
    if name not in NAMES:
        raise RefusedError(404, "expected one of the page's own files, got another; begin at /.")
    return _sent(name)


def _sent(name: str) -> Response:
    content, kind = read_file(name)
    return Response(content, headers={**HEADERS, "Content-Type": kind})
