"""The double as a server: Drive's and OAuth's addresses on one port."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.drive_double.faults import Fault, Faults, Kind
from tests.drive_double.oauth import answer_device, answer_revoke, answer_token
from tests.drive_double.search import parse_query
from tests.drive_double.state import FOLDER_TYPE, UNIT_BYTES, DriveState, Session, StoredFile

_BLOCK_BYTES = 256 * 1024
_LONGEST_DELAY_S = 30
Params = dict[str, str]


class Refusal(Exception):
    """An error answer in Drive's form."""

    def __init__(self, status: int, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.body = {
            "error": {
                "code": status,
                "message": message or reason,
                "errors": [{"domain": "global", "reason": reason, "message": message or reason}],
            }
        }


class _Cut(Exception):
    """The connection ends here, without an answer."""


class DriveDouble:
    """A running double.

    Attributes:
        url: Root of all its addresses, with a slash at the end.
        state: What it holds.
        faults: What goes wrong next.
    """

    def __init__(self, *, keep_content: bool = True, port: int = 0) -> None:
        self.state = DriveState(keep_content=keep_content)
        self.faults = Faults()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.double = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.faults.release.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()

    def count(self, kind: Kind) -> int:
        """Return how many requests of a kind have come."""
        with self.state.lock:
            return self.state.requests.count(kind)


@contextmanager
def running_double(*, keep_content: bool = True) -> Iterator[DriveDouble]:
    """Run a double during the block."""
    double = DriveDouble(keep_content=keep_content)
    double.start()
    try:
        yield double
    finally:
        double.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    double: DriveDouble

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: tests kill them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    @property
    def _state(self) -> DriveState:
        return self.server.double.state

    @property
    def _faults(self) -> Faults:
        return self.server.double.faults

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        params = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self._is_read = False
        try:
            kind, action = self._route(parts.path, params)
            with self._state.lock:
                self._state.requests.append(kind)
            fault = self._faults.take(kind)
            if fault is not None and fault.delay_s:
                self._faults.is_slow.set()
                self._faults.release.wait(min(fault.delay_s, _LONGEST_DELAY_S))
            if fault is not None and not fault.lose_reply and not fault.delay_s:
                self._fail(fault)
                return
            if kind not in ("token", "device", "revoke"):
                self._check_token()
            action(fault is not None and fault.lose_reply)
        except Refusal as refusal:
            self._read_rest()
            self._reply(refusal.status, refusal.body)
        except (_Cut, ConnectionError):
            self._cut()

    def _fail(self, fault: Fault) -> None:
        if fault.status == 0:
            self._cut()
            return
        self._read_rest()
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        if fault.status == 308:
            self._reply(308, None)
            return
        body: Any = {"error": fault.reason} if fault.kind == "token" else Refusal(fault.status, fault.reason).body
        if fault.status >= 500 and not fault.reason:
            body = "<html>a proxy's page</html>"
        self._reply(fault.status, body, headers)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            # An RST, so that the client does not take it for the end of a short answer.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.connection.shutdown(socket.SHUT_RDWR)

    def _route(self, path: str, params: Params) -> tuple[Kind, Callable[[bool], None]]:
        method = self.command
        if (method, path) == ("POST", "/token"):
            return "token", lambda lose: self._finish(lose, *answer_token(self._state, self._read_form()))
        if (method, path) == ("POST", "/device/code"):
            return "device", lambda lose: self._finish(
                lose, *answer_device(self._state, self._read_form(), self.server.double.url)
            )
        if (method, path) == ("POST", "/revoke"):
            return "revoke", lambda lose: self._finish(lose, *answer_revoke(self._state, self._read_form()))
        if (method, path) == ("GET", "/drive/v3/about"):
            return "about", self._about
        if (method, path) == ("GET", "/drive/v3/files/generateIds"):
            return "ids", lambda lose: self._finish(lose, 200, {"ids": [self._state.new_id()], "space": "drive"})
        if (method, path) == ("GET", "/drive/v3/files"):
            return "list", lambda lose: self._list(params, lose)
        if (method, path) == ("POST", "/drive/v3/files"):
            return "create", self._create
        if path in ("/upload/drive/v3/files", "/resumable/upload/drive/v3/files"):
            if method == "POST" and params.get("uploadType") == "resumable":
                return "open", lambda lose: self._open(params, lose)
            if method == "PUT" and "upload_id" in params:
                is_query = self.headers.get("Content-Range", "").startswith("bytes */") and self._length() == 0
                upload_id = params["upload_id"]
                if is_query and not self.headers["Content-Range"].endswith("/0"):
                    return "query", lambda lose: self._query(upload_id, lose)
                return "chunk", lambda lose: self._chunk(upload_id, lose)
        if match := re.fullmatch(r"/drive/v3/files/([\w-]+)", path):
            file_id = match[1]
            if method == "GET" and params.get("alt") == "media":
                return "download", lambda lose: self._download(file_id, params, lose)
            if method == "GET":
                return "get", lambda lose: self._finish(lose, 200, self._find(file_id, params).meta)
            if method == "PATCH":
                return "update", lambda lose: self._update(file_id, params, lose)
            if method == "DELETE":
                return "delete", lambda lose: self._delete(file_id, params, lose)
        raise Refusal(404, "notFound", f"no such address: {method} {path}")

    def _check_token(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._state.access_tokens:
            raise Refusal(401, "authError", "Invalid Credentials")

    def _find(self, file_id: str, params: Params) -> StoredFile:
        with self._state.lock:
            stored = self._state.files.get(file_id)
            is_shared = stored is not None and "driveId" in stored.meta
            if stored is None or (is_shared and params.get("supportsAllDrives") != "true"):
                raise Refusal(404, "notFound", f"File not found: {file_id}.")
            stored.meta["trashed"] = self._state.is_trashed(stored)
            return stored

    def _about(self, lose: bool) -> None:
        state = self._state
        quota = {"usage": str(state.used_bytes())}
        if state.limit_bytes is not None:
            quota["limit"] = str(state.limit_bytes)
        self._finish(lose, 200, {"user": {"emailAddress": "k9@example.org"}, "storageQuota": quota})

    def _list(self, params: Params, lose: bool) -> None:
        try:
            tests = parse_query(params.get("q", "trashed = false"))
        except ValueError as exc:
            raise Refusal(400, "invalid", f"Invalid Value: {exc}") from exc
        with self._state.lock:
            found = [
                item.meta
                for item in self._state.files.values()
                if item.meta["id"] not in self._state.hidden_from_search
                and ("driveId" not in item.meta or params.get("includeItemsFromAllDrives") == "true")
                and all(test(item.meta, self._state.is_trashed(item)) for test in tests)
            ]
        start = int(params.get("pageToken", "0"))
        end = start + min(int(params.get("pageSize", "100")), self._state.page_size)
        answer: dict[str, Any] = {"files": found[start:end]}
        if end < len(found):
            answer["nextPageToken"] = str(end)
        self._finish(lose, 200, answer)

    def _create(self, lose: bool) -> None:
        meta = self._read_json()
        self._finish(lose, 200, self._state.add_file(meta).meta)

    def _update(self, file_id: str, params: Params, lose: bool) -> None:
        changes = self._read_json()
        stored = self._find(file_id, params)
        with self._state.lock:
            stored.meta["appProperties"] = {**stored.meta["appProperties"], **changes.pop("appProperties", {})}
            stored.meta.update(changes)
        self._finish(lose, 200, stored.meta)

    def _delete(self, file_id: str, params: Params, lose: bool) -> None:
        self._find(file_id, params)
        with self._state.lock:
            children = [key for key, item in self._state.files.items() if item.parent == file_id]
            for key in (file_id, *children):
                del self._state.files[key]
        self._finish(lose, 204, None)

    def _download(self, file_id: str, params: Params, lose: bool) -> None:
        content = bytes(self._find(file_id, params).content)
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            if start >= len(content):
                raise Refusal(416, "requestedRangeNotSatisfiable")
        part = content[start:]
        cut = self._faults.next_cut(start, len(content))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        if cut is not None or lose:
            self.wfile.write(part[: (cut or start) - start])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_WR)
            return
        self.wfile.write(part)

    def _open(self, params: Params, lose: bool) -> None:
        meta = self._read_json()
        with self._state.lock:
            if meta.get("id") in self._state.files:
                raise Refusal(409, "fileIdInUse", "A file already exists with the provided ID.")
            if "id" in meta and meta["id"] not in self._state.reserved:
                raise Refusal(400, "invalid", "The provided file ID is not usable.")
            parent = self._state.files.get(meta["parents"][0])
            if parent is None or ("driveId" in parent.meta and params.get("supportsAllDrives") != "true"):
                raise Refusal(404, "notFound", f"File not found: {meta['parents'][0]}.")
            total = int(self.headers["X-Upload-Content-Length"])
            if "driveId" not in parent.meta:
                self._check_room(total)
            upload_id = f"secret-{self._state.new_id()}"
            self._state.sessions[upload_id] = Session(meta, total)
        place = f"{self.server.double.url}upload/drive/v3/files?uploadType=resumable&upload_id={upload_id}"
        self._finish(lose, 200, None, {"Location": place})

    def _check_room(self, size_bytes: int) -> None:
        limit = self._state.limit_bytes
        if limit is not None and self._state.used_bytes() + size_bytes > limit:
            raise Refusal(403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.")

    def _session(self, upload_id: str) -> Session:
        with self._state.lock:
            session = self._state.sessions.get(upload_id)
        if session is None:
            raise Refusal(404, "notFound")
        return session

    def _query(self, upload_id: str, lose: bool) -> None:
        session = self._session(upload_id)
        with session.lock:
            self._report(session, lose)

    def _chunk(self, upload_id: str, lose: bool) -> None:
        session = self._session(upload_id)
        with session.lock:
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", self.headers.get("Content-Range", ""))
            start, end, total = (int(part) for part in match.groups()) if match else (0, -1, 0)
            length = end - start + 1
            if self._length() != length or total != session.total or start != session.received:
                raise Refusal(400, "badContentRange", f"{self.headers.get('Content-Range')}, has {session.received}")
            if length % UNIT_BYTES and end + 1 != total:
                raise Refusal(400, "badChunkSize")
            with self._state.lock:
                self._state.chunks.append((upload_id, start, length))
            self._receive(session, start, length)
            if session.received == session.total:
                self._complete(session)
            self._report(session, lose)

    def _receive(self, session: Session, start: int, length: int) -> None:
        """Take the body; at a cut keep the whole units that came before it."""
        self._is_read = True
        cut = self._faults.next_cut(start, start + length)
        wanted = length if cut is None else cut - start
        kept = wanted if cut is None else wanted // UNIT_BYTES * UNIT_BYTES
        done = 0
        while done < wanted:
            size = min(_BLOCK_BYTES, wanted - done)
            block = self.rfile.read(size)
            if len(block) < size:
                raise _Cut
            session.take(block[: max(0, kept - done)], keep=self._state.keep_content)
            done += len(block)
        if cut is not None:
            raise _Cut

    def _complete(self, session: Session) -> None:
        with self._state.lock:
            if session.file_id:
                return
            if session.meta.get("id") in self._state.files:
                raise Refusal(409, "fileIdInUse", "A file already exists with the provided ID.")
            digests = {
                "size": str(session.received),
                "md5Checksum": session.md5.hexdigest(),
                "sha256Checksum": session.sha256.hexdigest(),
            }
            session.file_id = str(self._state.add_file({**session.meta, **digests}, session.content).meta["id"])

    def _report(self, session: Session, lose: bool) -> None:
        if session.file_id:
            with self._state.lock:
                stored = self._state.files.get(session.file_id)
            if stored is None:
                raise Refusal(404, "notFound")
            self._finish(lose, 200, stored.meta)
            return
        headers = {"Range": f"bytes=0-{session.received - 1}"} if session.received else {}
        self._finish(lose, 308, None, headers)

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _read_body(self) -> bytes:
        self._is_read = True
        return self.rfile.read(self._length())

    def _read_json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._read_body())
        return document

    def _read_form(self) -> Params:
        return {name: values[0] for name, values in parse_qs(self._read_body().decode()).items()}

    def _read_rest(self) -> None:
        if not self._is_read:
            with contextlib.suppress(OSError):
                left = self._length()
                while left > 0 and (block := self.rfile.read(min(_BLOCK_BYTES, left))):
                    left -= len(block)

    def _finish(self, lose: bool, status: int, body: Any, headers: Params | None = None) -> None:
        if lose:
            raise _Cut
        self._read_rest()
        self._reply(status, body, headers)

    def _reply(self, status: int, body: Any, headers: Params | None = None) -> None:
        content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
            self.end_headers()
            self.wfile.write(content)


def folder_meta(name: str, **changes: Any) -> dict[str, Any]:
    """Return the metadata of a folder, for `DriveState.add_file`."""
    return {"name": name, "mimeType": FOLDER_TYPE, **changes}
