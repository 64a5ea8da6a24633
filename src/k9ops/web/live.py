"""Pages that change by themselves: one look at the database serves every open browser."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from k9ops.config.logging import get_logger
from k9ops.db.engine import database_errors
from k9ops.web.languages import LANGUAGES, Speech
from k9ops.web.pages import overview, queues
from k9ops.web.sessions import find_session
from k9ops.web.visit import Desk, render_fragment

_LOG = get_logger("k9ops.web")

_BOARDS: dict[str, Callable[[Desk], dict[str, Any]]] = {"overview": overview.gather, "queues": queues.gather}
_PAUSE_S = 4.0

_STILL_THERE = text(
    "SELECT token_sha256 FROM k9ops.web_session WHERE token_sha256 = ANY(:digests) AND expires_at > now()"
)


class LiveBoards:
    """The boards in both languages, looked at again every four seconds while anybody watches.

    Args:
        desk: What pages work with.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._watchers: dict[object, tuple[str, bytes, asyncio.Queue[dict[str, str] | None]]] = {}
        self._poller: asyncio.Task[None] | None = None

    async def stream(self, request: Request) -> Response:
        """Send a board each time it has been looked at, until the browser leaves or its session ends."""
        board = request.path_params["board"]
        token = await run_in_threadpool(self._desk.read_session_cookie, request)
        session = await run_in_threadpool(find_session, self._desk.engine, token) if token else None
        if token is None or session is None or board not in _BOARDS:
            return Response(status_code=403 if board in _BOARDS else 404)
        digest = hashlib.sha256(token.encode()).digest()
        headers = {"X-Accel-Buffering": "no"}
        events = self._watch(board, digest, session.account.language)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def _watch(self, board: str, digest: bytes, language: str) -> AsyncIterator[str]:
        key, mailbox = object(), asyncio.Queue[dict[str, str] | None](maxsize=2)
        self._watchers[key] = (board, digest, mailbox)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            yield "retry: 5000\n\n"
            while (texts := await mailbox.get()) is not None:
                lines = "".join(f"data: {line}\n" for line in texts[language].splitlines() if line.strip())
                yield f"event: board\n{lines}\n"
        finally:
            del self._watchers[key]

    async def _poll(self) -> None:
        while self._watchers:
            try:
                await self._look()
            except Exception as exc:
                # The browsers keep what they have until PostgreSQL is back.
                _LOG.warning("board.unread", problem=type(exc).__name__)
            await asyncio.sleep(_PAUSE_S)

    async def _look(self) -> None:
        watchers = dict(self._watchers)
        digests = sorted({digest for _, digest, _ in watchers.values()})
        there = await run_in_threadpool(self._find_there, digests)
        wanted = {board for board, _, _ in watchers.values()}
        texts = {board: await run_in_threadpool(self._draw, board) for board in sorted(wanted)}
        for board, digest, mailbox in watchers.values():
            with contextlib.suppress(asyncio.QueueFull):  # a slow browser gets the next one
                mailbox.put_nowait(texts[board] if digest in there else None)

    def _find_there(self, digests: list[bytes]) -> set[bytes]:
        with database_errors(), self._desk.engine.begin() as connection:
            return {bytes(row[0]) for row in connection.execute(_STILL_THERE, {"digests": digests})}

    def _draw(self, board: str) -> dict[str, str]:
        values = _BOARDS[board](self._desk)
        zone = self._desk.settings.zone
        shared = {"now": datetime.now(UTC)} | values
        return {name: render_fragment(f"_{board}.html", Speech(name, zone), **shared) for name in LANGUAGES}
