"""Requests to Google with a token, a time limit and one refresh: for the client library and for the upload."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import google.auth.credentials
import google.auth.transport.requests
import httplib2
import requests

from k9ops.drive.problems import error_of, network_errors
from k9ops.drive.store import Chunk
from k9ops.errors import FileChanged

_READ_BYTES = 64 * 1024


class ChunkBody:
    """A part of a file as the body of a request; it is read while it is sent.

    Never as one block of bytes: the socket's time limit would hold for the whole block, and a slow line needs
    minutes for it.

    Args:
        chunk: Which part.
        check_stop: Called before each piece; raises when the run must stop.
    """

    def __init__(self, chunk: Chunk, check_stop: Callable[[], None]) -> None:
        self._chunk = chunk
        self._check_stop = check_stop
        self._file = chunk.path.open("rb")
        self._file.seek(chunk.offset)
        self._left = chunk.length

    def __len__(self) -> int:
        return self._chunk.length

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_READ_BYTES):
            yield piece

    def read(self, size: int = -1) -> bytes:
        """Return the next piece."""
        self._check_stop()
        wanted = self._left if size < 0 else min(size, self._left)
        piece = self._file.read(wanted)
        if len(piece) < wanted:
            raise FileChanged(f"{self._chunk.path.name} has become shorter while it was sent.")
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Transport:
    """A session with Google; for one thread.

    Args:
        credentials: They are refreshed when they have expired, and once more when Google answers 401.
        timeout_s: For connecting, and for each wait for a byte.
        on_refresh: Called after each refresh.
    """

    def __init__(
        self,
        credentials: google.auth.credentials.Credentials,
        *,
        timeout_s: tuple[float, float],
        on_refresh: Callable[[], None],
    ) -> None:
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._on_refresh = on_refresh
        self._session = requests.Session()
        # Else a netrc file would put its own in place of the token.
        self._session.auth = _keep_headers
        self._token_session = requests.Session()
        self._token_session.auth = _keep_headers
        self._token_request = functools.partial(
            google.auth.transport.requests.Request(self._token_session), timeout=timeout_s[1]
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        make_body: Callable[[], ChunkBody] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request and return the answer, whatever its status; after a 401, refresh and send once more.

        Args:
            method: HTTP's.
            url: Whole.
            headers: Further ones.
            body: A small body.
            make_body: Makes a large one, anew for each try.
            stream: Leave the answer's content to be read.

        Raises:
            DriveUnavailable: The network failed.
            DriveAccessRevoked: Google takes the credentials no more.
        """
        if not self._credentials.valid:
            self._refresh()
        response = self._send_once(method, url, headers, body, make_body, stream)
        if response.status_code == requests.codes.unauthorized:
            response.close()
            self._refresh()
            response = self._send_once(method, url, headers, body, make_body, stream)
        return response

    def send_or_raise(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send a request and return a good answer.

        Raises:
            K9opsError: As `error_of` says, and as `send`.
        """
        response = self.send(method, url, **options)
        if response.status_code >= requests.codes.bad_request:
            with response:
                raise error_of(response)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        self._token_session.close()

    def _refresh(self) -> None:
        with network_errors():
            self._credentials.refresh(self._token_request)  # type: ignore[no-untyped-call]
        self._on_refresh()

    def _send_once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | str | None,
        make_body: Callable[[], ChunkBody] | None,
        stream: bool,
    ) -> requests.Response:
        sent = dict(headers or {})
        self._credentials.apply(sent)  # type: ignore[no-untyped-call]
        content = make_body() if make_body else None
        try:
            with network_errors():
                return self._session.request(
                    method,
                    url,
                    headers=sent,
                    data=content or body,
                    timeout=self._timeout_s,
                    stream=stream,
                    allow_redirects=False,
                )
        finally:
            if content is not None:
                content.close()


class LibraryHttp:
    """The transport in the form that google-api-python-client asks for: that of httplib2.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> tuple[httplib2.Response, bytes]:
        """Send a request of the library; an error answer is raised here and never reaches it.

        Raises:
            K9opsError: As `Transport.send_or_raise`.
        """
        kept = {name: value for name, value in (headers or {}).items() if name.lower() != "accept-encoding"}
        with self._transport.send_or_raise(method, uri, headers=kept, body=body) as response:
            info = httplib2.Response({name.lower(): value for name, value in response.headers.items()})
            info.status = response.status_code
            return info, response.content

    def close(self) -> None:
        """Leave the transport open: its owner closes it."""


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
