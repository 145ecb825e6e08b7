"""The application server: routes, and the parts that live as long as it does. Imports no TensorFlow."""

import asyncio
import functools
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from tfrec_llm.config import Serving
from tfrec_llm.data.storage import CATALOGUE
from tfrec_llm.serving.server import feedback, health, predict, recommend
from tfrec_llm.serving.server.connection import Connection
from tfrec_llm.serving.server.following import follow, follow_file
from tfrec_llm.serving.server.gate import DOCS, DOCS_FILES, Gate
from tfrec_llm.serving.server.model import Model
from tfrec_llm.serving.server.page import routes as page
from tfrec_llm.serving.server.parts import Parts, compose, look_again
from tfrec_llm.serving.server.refusals import add_handlers
from tfrec_llm.serving.versions import ADDED

BACKLOG = 2048  # connections that wait, as uvicorn's own default
END_SECONDS = 10  # within which open requests are answered when the server ends

log = logging.getLogger(__name__)


def make_app(parts: Parts) -> FastAPI:
    """The app over its parts; `model` and `recorder` are started before and closed after it.

    Args:
      parts: what answers.
    """

    @asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        await parts.recorder.start()
        try:
            yield
        finally:
            await parts.model.close()
            await parts.recorder.close()

    app = FastAPIOffline(
        docs_url=DOCS,
        redoc_url=None,
        static_url=DOCS_FILES,
        title="tfrec_llm",
        description="A recommender that hears, remembers and learns.",
        lifespan=alive,
    )
    app.state.parts = parts
    for part in (recommend, feedback, predict, health, page):
        app.include_router(part.router)
    add_handlers(app)
    settings = parts.settings
    app.add_middleware(Gate, api_keys=settings.api_keys, max_body=settings.max_body, measures=parts.measures)
    return app


async def serve(run: Path, settings: Serving) -> None:
    """Serves a run until it is told to end (SIGINT or SIGTERM); what is being answered is answered first.

    Args:
      run: a finished run folder.
      settings: `[serving]`.

    Raises:
      ValueError: as of `parts.compose`, or the model cannot be loaded.
      OSError: the port is taken.
    """
    parts = compose(run, settings)
    quiet = {"access_log": False, "log_level": "warning"}
    config = uvicorn.Config(
        make_app(parts), lifespan="on", http=Connection, timeout_graceful_shutdown=END_SECONDS, **quiet
    )
    listening, following = _bind(settings.host, settings.port), []
    try:
        await parts.model.start()
        names = functools.partial(look_again, parts, run)
        following.append(follow_file(run / ADDED / CATALOGUE, settings.follow_seconds, names))
        if isinstance(parts.model, Model):  # a TensorFlow Serving follows the labels itself
            following.append(follow(parts.model, run / "export", settings.follow_seconds, parts.measures))
        following = [asyncio.create_task(looking) for looking in following]
        listening.listen(BACKLOG)  # from here on nobody is refused, though the first answer waits for the app's start
        log.info("serving on http://%s:%d (documentation at /docs)", *listening.getsockname()[:2])
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        await parts.model.close()
        listening.close()


def _bind(host: str, port: int) -> socket.socket:
    """The listening socket; a port that is taken is said before the model is loaded."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise OSError(
            f"serving.host: expected an address of this machine, got {host!r} ({error.strerror}); say 127.0.0.1, or "
            "0.0.0.0 for all of them."
        ) from error
    try:
        # with its protocol named, asyncio sends small answers at once instead of waiting for an acknowledgement
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise OSError(
            f"serving: expected {host}:{port} to be free, got: {error}; end what listens there, or choose another "
            'with SET="serving.port=8501".'
        ) from error
    return listening


def run_server(run: Path, settings: Serving) -> None:
    """As `serve`, from a program without an event loop."""
    asyncio.run(serve(run, settings))
