"""Makes .venv from uv.lock on a machine that may have nothing but Python, make and git.

Standard library only: neither pip nor venv is needed. uv is taken from PATH, or fetched into .tools/ as uv.lock
names it; the machine's own Python is left as it is. Run it again at any time: it does nothing when nothing changed.

UV_DEFAULT_INDEX, UV_INDEX_URL or PIP_INDEX_URL name a mirror: everything is then fetched from there, with the versions
and digests of uv.lock.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
OLDEST_UV = (0, 9)
MIRROR_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


def main() -> None:
    """Make or renew .venv; end with one sentence when that cannot be."""
    if sys.version_info < (3, 11):  # noqa: UP036 - said to whoever has an older one
        sys.exit(f"k9ops needs Python 3.11 or newer; this is {platform.python_version()}. Try: make PYTHON=python3.12")
    mirror = next((os.environ[name] for name in MIRROR_VARIABLES if os.environ.get(name)), None)
    uv = find_uv() or fetch_uv(mirror)
    if mirror is None:
        run_uv(uv, "sync", "--frozen", "--all-extras", "--all-groups", "--python", sys.executable)
    else:
        sync_from_mirror(uv, mirror)


def sync_from_mirror(uv: str, mirror: str) -> None:
    """Install what uv.lock lists from another index; `uv sync --frozen` knows the addresses in uv.lock only."""
    requirements = str(TOOLS / "requirements.txt")
    run_uv(uv, "export", "--frozen", "--all-extras", "--all-groups", "--output-file", requirements)
    run_uv(uv, "venv", "--allow-existing", "--python", sys.executable, ".venv")
    run_uv(uv, "pip", "sync", "--python", ".venv", requirements, UV_DEFAULT_INDEX=mirror)


def run_uv(uv: str, *arguments: str, **variables: str) -> None:
    """Run uv in the project; end when it fails."""
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(ROOT / ".venv"), **variables}
    environment.pop("VIRTUAL_ENV", None)
    result = subprocess.run([uv, *arguments, "--quiet"], cwd=ROOT, env=environment, check=False)
    if result.returncode != 0:
        sys.exit("uv could not install what uv.lock lists; its message stands above.")


def find_uv() -> str | None:
    """Return a uv that is new enough, from PATH or from an earlier set-up."""
    for candidate in (shutil.which("uv"), str(TOOLS / "bin" / "uv")):
        if candidate and os.access(candidate, os.X_OK):
            shown = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout
            numbers = re.search(r"(\d+)\.(\d+)", shown)
            if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST_UV:
                return candidate
    return None


def fetch_uv(mirror: str | None) -> str:
    """Fetch the wheel of uv that uv.lock names for this machine, check its digest and unpack it into .tools/."""
    wheel = find_uv_wheel()
    print(f"Fetching uv {wheel['version']} …", flush=True)
    try:
        content = read_url(find_on_mirror(mirror, wheel["url"]) if mirror else wheel["url"])
    except OSError as exc:
        sys.exit(f"uv could not be fetched ({exc}): set PIP_INDEX_URL to a mirror, or install uv by hand.")
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


def find_on_mirror(mirror: str, url: str) -> str:
    """Return where a mirror keeps a file, from its page in the form of PEP 503."""
    name = re.escape(url.rsplit("/", 1)[-1])
    page_url = f"{mirror.rstrip('/')}/uv/"
    link = re.search(rf"""href=["']([^"']*{name})[#"']""", read_url(page_url).decode())
    if link is None:
        sys.exit("The mirror does not have the uv that uv.lock names: install uv by hand, then run this again.")
    return urllib.parse.urljoin(page_url, str(link[1]))


def read_url(url: str) -> bytes:
    """Return the content behind a URL, which may hold a name and a password."""
    parts = urllib.parse.urlsplit(url)
    account, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl())  # noqa: S310
    if account:
        token = base64.b64encode(urllib.parse.unquote(account).encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content


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
