"""A TCP proxy on loopback that does to connections what networks do: cuts, delays, and answers that never arrive."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

_CHUNK_BYTES = 65_536


class _Link:
    """One connection, from both sides."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.sides = (client, server)
        self.loses_reply = False

    def cut(self) -> None:
        """End both sides at once, without a farewell."""
        for side in self.sides:
            side.transport.abort()


class Proxy:
    """Stands between processes and a server.

    Args:
        port: Of the server; may be changed while the proxy runs, for connections that are opened later.

    Attributes:
        server_port: See `port`.
        port: Of the proxy itself.
        delay_s: Wait before each piece of a reply is handed on.
        is_refusing: Whether new connections are ended at once.
        lost_replies: How many replies were thrown away.
    """

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.port = 0
        self.delay_s = 0.0
        self.is_refusing = False
        self.lost_replies = 0
        self._marker = b""
        self._losses_left = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listener = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> int:
        """Cut every connection in the middle of whatever it carries; return how many there were."""
        return self._call(self._cut())

    def lose_replies(self, marker: bytes, count: int) -> None:
        """Throw away the reply of the next requests that contain a marker, and cut their connections.

        The server has done what it was asked to; who asked never hears of it.
        """
        self._marker, self._losses_left = marker, count

    def _call(self, action: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(30)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _close(self) -> None:
        self._listener.close()
        await self._cut()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
                link = _Link(writer, server_writer)
                self._links.add(link)
                try:
                    await asyncio.gather(
                        self._carry_requests(reader, server_writer, link),
                        self._carry_replies(server_reader, writer, link),
                    )
                finally:
                    link.cut()
                    self._links.discard(link)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _carry_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if self._losses_left and self._marker in data:
                    self._losses_left -= 1
                    link.loses_reply = True
                writer.write(data)
                await writer.drain()
        link.cut()

    async def _carry_replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if link.loses_reply:
                    self.lost_replies += 1
                    break
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        link.cut()
