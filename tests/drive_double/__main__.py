"""Runs a double as a process of its own until standard input ends; it keeps digests only, no contents."""

from __future__ import annotations

import json
import sys

from tests.drive_double.connecting import make_tokens
from tests.drive_double.server import folder_meta, running_double

if __name__ == "__main__":
    with running_double(keep_content=False) as double:
        double.state.limit_bytes = None
        folder = double.state.add_file(folder_meta("K9 Database Backups"))
        tokens = make_tokens(double, is_fresh=True)
        print(
            json.dumps({"url": double.url, "folder_id": folder.meta["id"], "tokens": tokens.encode()}),
            flush=True,
        )
        sys.stdin.read()
