"""What WeasyPrint may open: the package's own files and the configured logo, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

_LARGEST_FILE_BYTES = 8_000_000
_TYPES = {".ttf": "font/ttf", ".svg": "image/svg+xml", ".png": "image/png"}


class LockedFetcher(URLFetcher):  # type: ignore[misc]
    """Serves files that were named beforehand; any other address ends the rendering.

    Args:
        allowed: Whole paths.
    """

    def __init__(self, allowed: frozenset[Path]) -> None:
        super().__init__(allowed_protocols=("file",), allow_redirects=False, fail_on_errors=True)
        self._allowed = frozenset(path.resolve() for path in allowed)

    def fetch(self, url: str, headers: Any = None) -> URLFetcherResponse:
        """Return a file's content.

        Raises:
            FatalURLFetchingError: It is not one of the allowed files; no `Exception`, so nothing goes on without it.
        """
        parts = urlsplit(url)
        path = Path(url2pathname(parts.path)).resolve()
        if parts.scheme != "file" or parts.netloc or path not in self._allowed:
            raise FatalURLFetchingError(f"not allowed: {url[:200]}")
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise FatalURLFetchingError(f"too large: {path.name}")
        return URLFetcherResponse(url, path.read_bytes(), {"Content-Type": _TYPES[path.suffix.lower()]})
