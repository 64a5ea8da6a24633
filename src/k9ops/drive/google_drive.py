"""Google Drive v3: the client library for everything but the bytes, which go by a small uploader of our own.

The library's uploader never compares digests, resends an empty body after a 401 or 503, and cannot go on in another
process; see docs/decisions/0006.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from k9ops.drive.problems import error_of, network_errors
from k9ops.drive.store import FOLDER_TYPE, Chunk, NewFile, Quota, RemoteFile, UploadProgress
from k9ops.drive.transport import ChunkBody, LibraryHttp, Transport
from k9ops.errors import DriveFileMissing, DriveFolderMissing, DriveRefused, DriveSessionGone, DriveUnavailable

_FIELDS = "id,name,mimeType,createdTime,size,md5Checksum,sha256Checksum,appProperties,trashed,driveId"  # of a file
_PIECE_BYTES = 1024 * 1024
_PAGE_SIZE = 1000
_INCOMPLETE = 308
_ROOT_KEYS = ("rootUrl", "baseUrl", "mtlsRootUrl")


class GoogleDrive:
    """Google Drive for one set of credentials; for one thread.

    Args:
        transport: Sends the requests; closed with this.
        api_url: Root of the API, with a slash at its end.
        check_stop: Called while bytes are moved; raises when the run must stop.
    """

    def __init__(self, transport: Transport, *, api_url: str, check_stop: Callable[[], None]) -> None:
        self._transport = transport
        self._api_url = api_url
        self._check_stop = check_stop
        from googleapiclient.discovery import build_from_document  # 13 MB that every process would carry

        service = build_from_document(_read_discovery(api_url), http=LibraryHttp(transport))
        self._files = service.files()
        self._about = service.about()

    def read_quota(self) -> Quota:
        """Return the room of the account."""
        found = self._about.get(fields="user(emailAddress),storageQuota(limit,usage)").execute()
        quota = found.get("storageQuota", {})
        limit = quota.get("limit")
        account = str(found.get("user", {}).get("emailAddress", ""))
        return Quota(account, int(quota.get("usage", 0)), int(limit) if limit is not None else None)

    def get_file(self, file_id: str) -> RemoteFile:
        """Return a file or folder, in the trash or not."""
        return _parse_file(self._files.get(fileId=file_id, fields=_FIELDS, supportsAllDrives=True).execute())

    def find_folders(self, name: str) -> Sequence[RemoteFile]:
        """Return the folders of a name that are not in the trash."""
        return self._search(f"name = {_quote(name)} and mimeType = '{FOLDER_TYPE}' and trashed = false")

    def make_folder(self, name: str) -> RemoteFile:
        """Make a folder at the top of the account's drive."""
        body = {"name": name, "mimeType": FOLDER_TYPE}
        return _parse_file(self._files.create(body=body, fields=_FIELDS).execute())

    def list_files(self, folder_id: str, *, properties: Mapping[str, str] | None = None) -> Sequence[RemoteFile]:
        """Return the files of a folder that are not in the trash."""
        terms = [f"{_quote(folder_id)} in parents", "trashed = false", f"mimeType != '{FOLDER_TYPE}'"]
        for key, value in (properties or {}).items():
            terms.append(f"appProperties has {{ key={_quote(key)} and value={_quote(value)} }}")
        return self._search(" and ".join(terms))

    def set_properties(self, file_id: str, properties: Mapping[str, str]) -> None:
        """Note something about a file."""
        body = {"appProperties": dict(properties)}
        self._files.update(fileId=file_id, body=body, fields="id", supportsAllDrives=True).execute()

    def delete_file(self, file_id: str) -> bool:
        """Delete a file or an empty folder for good; tell whether it was there."""
        try:
            self._files.delete(fileId=file_id, supportsAllDrives=True).execute()
        except DriveFileMissing:
            return False
        return True

    def reserve_id(self) -> str:
        """Return an id that no file has had."""
        return str(self._files.generateIds(count=1, space="drive", fields="ids").execute()["ids"][0])

    def open_session(self, new: NewFile) -> str:
        """Begin a resumable upload and return its address."""
        metadata = {
            "id": new.file_id,
            "name": new.name,
            "parents": [new.folder_id],
            "appProperties": dict(new.properties),
        }
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "X-Upload-Content-Type": "application/octet-stream",
            "X-Upload-Content-Length": str(new.size_bytes),
        }
        query = f"uploadType=resumable&supportsAllDrives=true&fields={_FIELDS}"
        url = urljoin(self._api_url, f"upload/drive/v3/files?{query}")
        try:
            with self._transport.send_or_raise("POST", url, headers=headers, body=json.dumps(metadata)) as response:
                session = response.headers.get("Location", "")
        except DriveFileMissing as exc:
            raise DriveFolderMissing(
                "The folder for backups is not on Google Drive any more, or was not shared with this account.",
                folder_id=new.folder_id,
            ) from exc
        if not self._is_trusted(session):
            raise DriveRefused("Google Drive named no address for the upload, or one of another server.")
        return session

    def send_chunk(self, session: str, chunk: Chunk) -> UploadProgress:
        """Send a part of a file."""
        end = chunk.offset + chunk.length - 1
        span = f"{chunk.offset}-{end}" if chunk.length else "*"
        headers = {"Content-Range": f"bytes {span}/{chunk.total}", "Content-Type": "application/octet-stream"}
        make_body = functools.partial(ChunkBody, chunk, self._check_stop) if chunk.length else None
        with self._transport.send("PUT", session, headers=headers, make_body=make_body) as response:
            return _parse_progress(response, chunk.total)

    def query_session(self, session: str, total: int) -> UploadProgress:
        """Ask how far an upload is."""
        headers = {"Content-Range": f"bytes */{total}", "Content-Length": "0"}
        with self._transport.send("PUT", session, headers=headers) as response:
            return _parse_progress(response, total)

    def read_file(self, file_id: str, *, offset: int = 0) -> Iterator[bytes]:
        """Yield the content of a file from an offset on."""
        url = urljoin(self._api_url, f"drive/v3/files/{file_id}?alt=media&supportsAllDrives=true")
        # Without this the answer might be compressed, and offsets would mean something else.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}
        with self._transport.send_or_raise("GET", url, headers=headers, stream=True) as response:
            if offset and response.status_code != requests.codes.partial_content:
                raise DriveUnavailable("Google Drive does not continue a download.")
            with network_errors():
                for piece in response.iter_content(_PIECE_BYTES):
                    self._check_stop()
                    yield piece

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _is_trusted(self, url: str) -> bool:
        """Tell whether the token may be sent there."""
        found, own = urlsplit(url), urlsplit(self._api_url)
        is_google = found.scheme == "https" and (found.hostname or "").endswith(".googleapis.com")
        return is_google or (found.scheme, found.netloc) == (own.scheme, own.netloc)

    def _search(self, query: str) -> Sequence[RemoteFile]:
        found: list[RemoteFile] = []
        page = self._files.list(
            q=query,
            fields=f"nextPageToken,files({_FIELDS})",
            pageSize=_PAGE_SIZE,
            orderBy="createdTime",
            supportsAllDrives=True,
            includeItemsFromAllDrives=True,
        )
        while page is not None:
            answer = page.execute()
            found += [_parse_file(item) for item in answer.get("files", [])]
            page = self._files.list_next(page, answer)
        return found


def _read_discovery(api_url: str) -> dict[str, Any]:
    """Return the description of the API that the library ships, for another root.

    Its option `api_endpoint` changes the root, but not the addresses of uploads and of batches.
    """
    document: dict[str, Any] = json.loads(_discovery_text())
    for key in _ROOT_KEYS:
        document[key] = urljoin(api_url, document["servicePath"]) if key == "baseUrl" else api_url
    return document


@functools.lru_cache(maxsize=1)
def _discovery_text() -> str:
    place = resources.files("googleapiclient.discovery_cache") / "documents" / "drive.v3.json"
    return place.read_text(encoding="utf-8")


def _parse_progress(response: requests.Response, total: int) -> UploadProgress:
    status = response.status_code
    if status in (requests.codes.ok, requests.codes.created):
        return UploadProgress(total, _parse_file(response.json()))
    if status == _INCOMPLETE:
        match = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("Range", ""))
        return UploadProgress(int(match[1]) + 1 if match else 0)
    if status in (requests.codes.not_found, requests.codes.gone):
        raise DriveSessionGone("Google Drive does not know this upload any more.")
    raise error_of(response)


def _parse_file(item: Mapping[str, Any]) -> RemoteFile:
    created = item.get("createdTime")
    return RemoteFile(
        file_id=str(item["id"]),
        name=str(item.get("name", "")),
        created_at=datetime.fromisoformat(created) if created else datetime.min.replace(tzinfo=UTC),
        size_bytes=int(item["size"]) if "size" in item else None,
        md5=item.get("md5Checksum"),
        sha256=item.get("sha256Checksum"),
        properties=dict(item.get("appProperties", {})),
        is_folder=item.get("mimeType") == FOLDER_TYPE,
        is_trashed=bool(item.get("trashed", False)),
        shared_drive_id=item.get("driveId"),
    )


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
