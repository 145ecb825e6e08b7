"""How the server says no: one status, one JSON object {"error": "..."}; never what a user said or who it was."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tfrec_llm.feedback import LogUnavailableError
from tfrec_llm.serving.server.asks import AnswerError, ModelUnavailableError

UNREADABLE = "body: expected JSON in UTF-8, got something that cannot be read as such; correct it."
LONGEST = 100  # characters of a place: names of fields are the client's


class RefusedError(Exception):
    """A request that is not answered.

    Args:
      status: of HTTP.
      message: expected, got, what to do.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


def add_handlers(app: FastAPI) -> None:
    """Makes every error of an app one JSON object."""

    async def said(request: Request, error: Any) -> JSONResponse:
        if isinstance(error, RequestValidationError) and not _is_json(request):
            return answer(415, "expected the header Content-Type: application/json, got another; say what is sent.")
        return answer(*status_of(error))

    for kind in (
        RefusedError, RequestValidationError, HTTPException, LogUnavailableError, ModelUnavailableError, AnswerError,
        TimeoutError,
    ):  # fmt: skip
        app.add_exception_handler(kind, said)


def status_of(error: Exception) -> tuple[int, str]:
    """HTTP status and message of an error."""
    if isinstance(error, RefusedError):
        return error.status, error.message
    if isinstance(error, RequestValidationError):
        return 422, _first(error)
    if isinstance(error, HTTPException):
        return error.status_code, UNREADABLE if error.status_code == 400 else str(error.detail)
    if isinstance(error, TimeoutError):
        return 504, "expected an answer within serving.timeout_ms, got none; ask again."
    if isinstance(error, LogUnavailableError):
        return 503, "the event log is not available; send the same again: what was kept counts once."
    if isinstance(error, ModelUnavailableError):
        return 503, f"{error}."
    return 500, "the server failed on this request."


def answer(status: int, message: str) -> JSONResponse:
    """{"error": message}; whoever may come again is told when, and who sends no more is not waited for."""
    headers = {"Retry-After": "1"} if status in (503, 504) else {"Connection": "close"} if status == 408 else {}
    return JSONResponse({"error": message}, status, headers)


def _is_json(request: Request) -> bool:
    """Whether the body, if the request may have one, is said to be JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return request.headers.get("content-length", "0") == "0" or kind == "application/json" or kind.endswith("+json")


def _first(error: RequestValidationError) -> str:
    """The first thing that is wrong, by its place."""
    found = error.errors()[0]
    if found["type"] == "json_invalid":
        return UNREADABLE
    place = ".".join(str(part)[:LONGEST] for part in found["loc"])[:LONGEST] or "body"
    return f"{place}: {found['msg']}."
