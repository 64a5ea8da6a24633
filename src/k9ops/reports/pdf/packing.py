"""Pages are compressed as soon as they are drawn, beside the drawing of the next ones.

By itself pydyf keeps every page as a list of operators until the end, and then compresses each twice: for the file and
for the digest in its trailer. zlib does not hold the interpreter meanwhile, so that a thread uses another core.
"""

from __future__ import annotations

import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pydyf

_LEVEL = 6


class Packer:
    """Compresses the streams of a document's pages."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="packer")

    def pack(self, stream: Any) -> None:
        """Put a stream's compressed content in the place of its operators; nothing may be added to it afterwards."""
        content = b"\n".join(item if isinstance(item, bytes) else str(item).encode() for item in stream.stream)
        stream.stream = [_Packed(self._threads.submit(zlib.compress, content, _LEVEL))]
        stream.extra["Filter"] = "/FlateDecode"
        stream.compress = False

    def close(self) -> None:
        """End the thread."""
        self._threads.shutdown(cancel_futures=True)


class _Packed(pydyf.Object):  # type: ignore[misc]
    """A content that is being compressed."""

    def __init__(self, future: Future[bytes]) -> None:
        super().__init__()
        self._future = future

    @property
    def data(self) -> bytes:
        """Its bytes, waited for."""
        return self._future.result()
