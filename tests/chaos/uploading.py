"""Uploads one file as a process of its own, with its mark in a file, as a worker does."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from k9ops.backups.upload_marks import FileMemory
from k9ops.drive.credentials import decode_tokens
from k9ops.drive.google_drive import GoogleDrive
from k9ops.drive.local import read_local_file
from k9ops.drive.patience import Patience
from k9ops.drive.transport import Transport
from k9ops.drive.upload import UploadOptions, upload_file
from k9ops.outcome import Execution


def main() -> None:
    """Read what to do from standard input, do it, and print what was sent."""
    plan = json.load(sys.stdin)
    tokens = replace(decode_tokens(plan["tokens"]), expiry=datetime.now(UTC) + timedelta(hours=1))
    transport = Transport(tokens.for_google(), timeout_s=(5.0, 30.0), on_refresh=lambda: None)
    store = GoogleDrive(transport, api_url=plan["url"], check_stop=lambda: None)
    local = read_local_file(Path(plan["path"]), properties={"k9ops_backup": "chaos"}, execution=Execution())
    memory = FileMemory(Path(plan["marks"]), local.name)
    options = UploadOptions(plan["chunk_bytes"], Patience(base_s=0.001), Execution(), lambda _: None)
    print("ready", flush=True)
    done = upload_file(store, local, plan["folder_id"], memory=memory, options=options)
    store.close()
    print(json.dumps({"file_id": done.file.file_id, "sent_bytes": done.sent_bytes}), flush=True)


if __name__ == "__main__":
    main()
