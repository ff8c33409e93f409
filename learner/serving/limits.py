"""How much a request may bring, and how long it may take to arrive."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learner.wording import file_size

SLOWEST_S = 60.0
"""For so long a request may take to arrive; a client that sends a byte now and then would hold a place forever."""


class BodyLimit:
    """Refuses a request as soon as it is larger or slower than allowed, whatever it says of itself."""

    def __init__(self, app: ASGIApp, max_bytes: int, slowest_s: float = SLOWEST_S):
        self._app, self._max_bytes, self._slowest_s = app, max_bytes, slowest_s
        self._too_large = f"A request may have {file_size(max_bytes)}. Send fewer or smaller images."
        self._too_slow = f"The request did not arrive within {slowest_s:g} seconds. Send smaller images."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        if said.isdecimal() and int(said) > self._max_bytes:
            await JSONResponse({"detail": self._too_large}, 413)(scope, receive, send)
            return
        ends: float | None = asyncio.get_running_loop().time() + self._slowest_s
        received = 0

        async def receive_() -> Message:
            nonlocal received, ends
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, self._too_slow) from None
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, self._too_large)
            if not message.get("more_body", False):
                ends = None  # what is received from here on is only that the client has left
            return message

        await self._app(scope, receive_, send)
