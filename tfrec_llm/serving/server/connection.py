"""A connection: the head of a request must come in time, and what is no HTTP hears so in JSON."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tfrec_llm.serving.server.refusals import answer

HEAD_SECONDS = 30.0  # within which the head of a request must have come, from its connection or its first byte on
BROKEN = "expected a request of HTTP/1.1, got something else; correct it."


class Connection(H11Protocol):
    """As uvicorn's, which waits for the end of a head without end; between two requests its own clock runs."""

    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the wait."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on; where a head is not whole yet, the clock goes on."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._watch()
        else:
            self._stop()

    def send_400_response(self, msg: str) -> None:
        """Says that this is no HTTP, and closes."""
        said = answer(400, BROKEN)
        headers = [*said.raw_headers, (b"connection", b"close")]
        response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=said.body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def _watch(self) -> None:
        if self._clock is None:
            self._clock = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
