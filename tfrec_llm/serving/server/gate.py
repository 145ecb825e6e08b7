"""What every request passes first: its key, the size of its body, a clock; and the last word on what goes wrong."""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Sequence
from typing import Any

from tfrec_llm.serving.server import refusals
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.page.files import PATHS as PAGE_PATHS

log = logging.getLogger(__name__)
DOCS, DOCS_FILES = "/docs", "/docs-files"
_DOCS = (
    DOCS,
    "/openapi.json",
    *(f"{DOCS_FILES}/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")),
)
OPEN = ("/healthz", *PAGE_PATHS, *_DOCS)  # routes that need no key: they hold nothing of anybody
BODY_SECONDS = 30.0  # within which a body must have come
DRAINED = 64  # times the limit: so much of a body that is too large is read and thrown away before the answer


class Gate:
    """ASGI middleware around the app.

    Args:
      app: what it guards.
      api_keys: keys that open it; none = it is open.
      max_body: bytes of a body.
      measures: counts and times.
    """

    def __init__(self, app: Any, api_keys: Sequence[str], max_body: int, measures: Measures):
        self._app, self._max_body, self._measures = app, max_body, measures
        self._keys = [_digest(key) for key in api_keys]

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), [0]

        async def watched(message: dict) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self._pass(scope, receive, watched)
        except asyncio.CancelledError:  # the server ends, and has waited for this request long enough
            if not status[0]:
                await refusals.answer(503, "the server is ending; ask again in a moment.")(scope, receive, watched)
        except Exception as error:
            log.error("%s failed: %s", _route(scope), _where(error))
            if not status[0]:
                await refusals.answer(*refusals.status_of(error))(scope, receive, watched)
        self._measures.requests.labels(_route(scope), str(status[0])).inc()
        self._measures.request_seconds.labels(_route(scope)).observe(time.perf_counter() - began)

    async def _pass(self, scope: dict, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        if self._keys and scope["path"] not in OPEN and not self._opens(headers):
            message = "expected a key of this server in the header X-API-Key, got none or another; ask its owner."
            await refusals.answer(401, message)(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._body(headers, receive)
        except TimeoutError:
            message = f"expected the whole body within {BODY_SECONDS:g} s, got less; send it faster."
            await refusals.answer(408, message)(scope, receive, send)
            return
        if body is None:
            message = f"expected a body of at most {self._max_body} bytes, got more; send less at once."
            await refusals.answer(413, message)(scope, receive, send)
            return
        sent = False

        async def replay() -> dict:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    def _opens(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a request has one of the keys; takes as long whichever it is."""
        given = headers.get(b"x-api-key", b"") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        digest = _digest(given.decode("latin-1"))
        return bool(given) and any(hmac.compare_digest(digest, key) for key in self._keys)

    async def _body(self, headers: dict[bytes, bytes], receive: Any) -> bytes | None:
        """The body; None where it is too large. The rest is thrown away as it comes, so that the answer is read."""
        declared = headers.get(b"content-length", b"0")
        size, parts = 0, []
        too_large = declared.isdigit() and int(declared) > self._max_body
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None if too_large else b"".join(parts)
            part = message.get("body", b"")
            size += len(part)
            too_large = too_large or size > self._max_body
            if too_large:
                parts.clear()
            else:
                parts.append(part)
            if not message.get("more_body", False) or size > DRAINED * self._max_body:
                return None if too_large else b"".join(parts)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _route(scope: dict) -> str:
    """The route's pattern: a path as it was sent could hold anything."""
    return getattr(scope.get("route"), "path", "other")


def _where(error: BaseException) -> str:
    """Kind and place of an error, without its message: that may quote the request."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return f"{type(error).__name__}{place}"
