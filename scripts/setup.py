"""Makes .venv from uv.lock on a machine that may have nothing but Python, make and git.

Standard library only: neither pip nor venv is needed. uv is taken from PATH, or fetched into .tools/ as uv.lock
names it; the machine's own Python is left as it is. Run it again at any time: it does nothing when nothing changed.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"


def main() -> None:
    """Make or renew .venv; end with one sentence when that cannot be."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this runs before anything has checked it)
        sys.exit(f"k9ops needs Python 3.11 or newer; this is {platform.python_version()}. Try: make PYTHON=python3.12")
    uv = find_uv() or fetch_uv()
    command = [uv, "sync", "--frozen", "--all-extras", "--all-groups", "--quiet", "--python", sys.executable]
    environment = {"UV_SYSTEM_CERTS": "1", **os.environ, "UV_PROJECT_ENVIRONMENT": str(ROOT / ".venv")}
    environment.pop("VIRTUAL_ENV", None)
    result = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if result.returncode != 0:
        sys.exit("uv could not install what uv.lock lists; its message stands above.")


def find_uv() -> str | None:
    """Return uv from PATH or from an earlier set-up."""
    for candidate in (shutil.which("uv"), str(TOOLS / "bin" / "uv")):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return None


def fetch_uv() -> str:
    """Fetch the wheel of uv that uv.lock names for this machine, check its digest and unpack it into .tools/."""
    wheel = find_uv_wheel()
    print(f"Fetching uv {wheel['version']} …", flush=True)
    with urllib.request.urlopen(wheel["url"], timeout=300) as answer:  # noqa: S310
        content = answer.read()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != wheel["hash"]:
        sys.exit("The download of uv is not what uv.lock says: try again, or install uv by hand.")
    target = TOOLS / "bin" / "uv"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        partial = target.with_suffix(f".{os.getpid()}")
        partial.write_bytes(archive.read(name))
    partial.chmod(0o755)
    partial.replace(target)
    return str(target)


def find_uv_wheel() -> dict[str, str]:
    """Return url, hash and version of uv's wheel for this machine."""
    import tomllib  # not at the top: an older Python must still reach the sentence in main()

    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    package = next(item for item in lock["package"] if item["name"] == "uv")
    machine, libc = platform.machine(), "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    for wheel in package["wheels"]:
        tag = wheel["url"].rsplit("/", 1)[-1]
        if libc in tag and machine in tag:
            return {"url": wheel["url"], "hash": wheel["hash"], "version": package["version"]}
    sys.exit(f"uv.lock has no uv for this machine ({machine}, {libc}): install uv by hand, then run this again.")


if __name__ == "__main__":
    main()
