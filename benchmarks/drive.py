"""Measures an upload to Google Drive's double on loopback against one bare PUT of the same file, each in a process."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from readme import write_section

ROOT = Path(__file__).parents[1]

# Each prints its seconds and its peak memory. Both are given a plan on standard input.
K9OPS = """
import json, resource, sys, time
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
plan = json.load(sys.stdin)
tokens = decode_tokens(plan["tokens"])
transport = Transport(tokens.for_google(), timeout_s=(5.0, 60.0), on_refresh=lambda: None)
store = GoogleDrive(transport, api_url=plan["url"], check_stop=lambda: None)
started = time.perf_counter()
local = read_local_file(Path(plan["path"]), properties={}, execution=Execution())
digest_s = time.perf_counter() - started
memory = FileMemory(Path(plan["path"] + ".upload.json"), local.name)
options = UploadOptions(plan["chunk_bytes"], Patience(), Execution(), lambda _: None)
started = time.perf_counter()
done = upload_file(store, local, plan["folder_id"], memory=memory, options=options)
upload_s = time.perf_counter() - started
assert local.is_copied_in(done.file) and done.sent_bytes == local.size_bytes
store.delete_file(done.file.file_id)
rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps({"digest_s": digest_s, "upload_s": upload_s, "rss_mb": rss_mb}))
"""
BARE = """
import json, os, resource, sys, time
import requests
plan = json.load(sys.stdin)
size = os.path.getsize(plan["path"])
headers = {"Authorization": "Bearer " + json.loads(plan["tokens"])["token"]}
meta = {"name": "bare", "parents": [plan["folder_id"]]}
opened = requests.post(plan["url"] + "upload/drive/v3/files?uploadType=resumable", json=meta,
                       headers={**headers, "X-Upload-Content-Length": str(size)})
started = time.perf_counter()
with open(plan["path"], "rb") as file:
    done = requests.put(opened.headers["Location"], data=file,
                        headers={**headers, "Content-Range": f"bytes 0-{size - 1}/{size}"})
upload_s = time.perf_counter() - started
assert int(done.json()["size"]) == size
requests.delete(plan["url"] + "drive/v3/files/" + done.json()["id"], headers=headers)
print(json.dumps({"upload_s": upload_s, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))
"""

_SECTION = """\
`benchmarks/drive.py`. A sparse file of {size:.1f} GB goes to the double of Drive, a process of its own that hashes what
arrives: by k9ops in chunks of {chunk_mb:.1f} MB, each confirmed and noted, and by one bare `requests.put` of the same
file. {rounds} rounds in turn, medians; the ratio is that of the rounds. Only it carries over to another machine.

| | s | MB/s | peak memory MB |
| --- | --- | --- | --- |
| `requests.put` | {bare_s:.1f} | {bare_rate:.0f} | {bare_rss:.0f} |
| `upload_file` of k9ops | {k9ops_s:.1f} | {k9ops_rate:.0f} | **{k9ops_rss:.0f}** |
| ratio | **{ratio:.2f}** | | |

Before it, k9ops reads the file once for MD5 and SHA-256: {digest_s:.1f} s. Measured on {date}, {cores} cores, which the
double shares.
"""


@contextmanager
def double_process() -> Iterator[dict[str, Any]]:
    """Run a double during the block, and give what is needed to reach it."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.drive_double"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


def run(program: str, plan: dict[str, Any]) -> dict[str, float]:
    """Run one of the programs and return what it measured."""
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(plan), capture_output=True, text=True, check=True
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> None:
    """Measure; sizes and rounds by option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-gb", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk-bytes", type=int, default=8_388_608)
    options = parser.parse_args()
    size = int(options.size_gb * 10**9)
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder, double_process() as plan:
        path = Path(folder) / "20261125T000000Z-4f1c2a9b.dump"
        with path.open("wb") as file:
            file.truncate(size)
        plan |= {"path": str(path), "chunk_bytes": options.chunk_bytes}
        for _ in range(options.rounds):
            bare.append(run(BARE, plan))
            ours.append(run(K9OPS, plan))
            print(bare[-1], ours[-1], flush=True)

    def median(rounds: list[dict[str, float]], name: str) -> float:
        return statistics.median(item[name] for item in rounds)

    bare_s, ours_s = median(bare, "upload_s"), median(ours, "upload_s")
    section = _SECTION.format(
        size=size / 10**9,
        chunk_mb=options.chunk_bytes / 10**6,
        rounds=options.rounds,
        bare_s=bare_s,
        bare_rate=size / bare_s / 10**6,
        bare_rss=max(item["rss_mb"] for item in bare),
        k9ops_s=ours_s,
        k9ops_rate=size / ours_s / 10**6,
        k9ops_rss=max(item["rss_mb"] for item in ours),
        ratio=statistics.median(our["upload_s"] / one["upload_s"] for our, one in zip(ours, bare, strict=True)),
        digest_s=median(ours, "digest_s"),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
    )
    write_section("drive", section)
    print(section)


if __name__ == "__main__":
    main()
