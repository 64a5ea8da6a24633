"""Installs packages of Debian or Ubuntu that wheels do not carry: as root, or by sudo when that asks no password.

    python3 scripts/system_packages.py NAME...

Where it may not, it names the command to type and ends with 0: nothing that uses this needs the packages to work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Each package with a file that shows that it is there, and what stands in for it.
PACKAGES = {
    "faketime": (
        "/usr/lib/*/faketime/libfaketimeMT.so.1",
        "no clock jumps in a long storm",
    ),
    "postgresql-15": (
        "/usr/lib/postgresql/15/bin/postgres",
        "the tests take PostgreSQL 17 from a wheel as the older server",
    ),
    "libpango-1.0-0": (
        "/usr/lib/*/libpango-1.0.so.0",
        "reports cannot be made as PDF, only as spreadsheet and CSV",
    ),
    "libpangoft2-1.0-0": (
        "/usr/lib/*/libpangoft2-1.0.so.0",
        "reports cannot be made as PDF, only as spreadsheet and CSV",
    ),
    "libharfbuzz-subset0": (
        "/usr/lib/*/libharfbuzz-subset.so.0",
        "PDF reports carry whole fonts or subset them more slowly",
    ),
    "poppler-utils": (
        "/usr/bin/pdftotext",
        "the tests of the text in PDF reports cannot run",
    ),
    "redis-tools": (
        "/usr/bin/redis-check-rdb",
        "the tests of a Redis behind TLS cannot run",
    ),
    "rabbitmq-server": (
        "/usr/lib/rabbitmq/bin/rabbitmq-server",
        "the tests of RabbitMQ as the broker cannot run",
    ),
    "libreoffice-calc-nogui": (
        "/usr/bin/soffice",
        "the tests that open spreadsheets as people do cannot run",
    ),
    "chromium": (
        "/usr/bin/chromium",
        "the tests that look at the dashboard as people do cannot run",
    ),
}

# A server package would make a database cluster and start it: only the programs are wanted.
INSTALL = """
set -e
without_cluster=/etc/postgresql-common/createcluster.d/k9ops.conf
trap 'rm -f "$without_cluster"' EXIT
mkdir -p "${without_cluster%/*}"
echo 'create_main_cluster = false' > "$without_cluster"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
"""


def main() -> None:
    """Install what is named and missing."""
    for name in sys.argv[1:]:
        proof, instead = PACKAGES[name]
        if is_there(proof):
            continue
        if not install(name) or not is_there(proof):
            print(f"{name} is not installed: {instead}. To have it: sudo apt-get install {name}", file=sys.stderr)


def is_there(proof: str) -> bool:
    """Tell whether a file exists that an absolute pattern describes."""
    return any(Path("/").glob(proof.lstrip("/")))


def install(name: str) -> bool:
    """Try to install a package; tell whether that went well."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (as_root and not succeeds("sudo", "-n", "true")):
        return False
    if not is_on_offer(name) and not (succeeds(*as_root, "apt-get", "-q", "update") and is_on_offer(name)):
        return False
    print(f"Installing {name} …", flush=True)
    return succeeds(*as_root, "sh", "-c", INSTALL, "sh", name) or (
        succeeds(*as_root, "apt-get", "-q", "update") and succeeds(*as_root, "sh", "-c", INSTALL, "sh", name)
    )


def is_on_offer(name: str) -> bool:
    """Tell whether the lists of packages that this machine has name a version of it."""
    shown = subprocess.run(["apt-cache", "policy", name], capture_output=True, text=True, check=False).stdout  # noqa: S607
    return "Candidate: " in shown and "Candidate: (none)" not in shown


def succeeds(*command: str) -> bool:
    """Run a command, show what it wrote when it failed, and tell whether it went well."""
    if not shutil.which(command[0]):
        return False
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-2000:])
    return done.returncode == 0


if __name__ == "__main__":
    main()
