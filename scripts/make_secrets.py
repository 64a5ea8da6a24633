"""Makes the files in secrets/ that compose.yml names, with new random passwords and a new key. It never replaces one.

The folder is for its owner alone; the files in it can be read by the accounts of the containers.
"""

from __future__ import annotations

import base64
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "secrets"
REDIS_CONF = """\
requirepass {password}
appendonly yes
appendfsync everysec
maxmemory 256mb
maxmemory-policy noeviction
dir /data
"""


def make_secrets(folder: Path) -> list[Path]:
    """Write the files of compose.yml.

    Raises:
        FileExistsError: One of them is there already; nothing is written then.
    """
    superuser, database, broker = (secrets.token_urlsafe(32) for _ in range(3))
    contents = {
        "postgres_password": superuser,
        "k9_password": database,
        "database_url": f"postgresql://k9:{database}@postgres:5432/k9",
        "redis_password": broker,
        "redis_url": f"redis://:{broker}@redis:6379",
        "redis.conf": REDIS_CONF.format(password=broker),
        "secret_key": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    paths = {folder / name: text for name, text in contents.items()}
    for path in paths:
        if path.exists():
            raise FileExistsError(path)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    for path, text in paths.items():
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    return list(paths)


if __name__ == "__main__":
    try:
        made = make_secrets(FOLDER)
    except FileExistsError as exc:
        sys.exit(f"{exc} exists: move the folder secrets/ away first, if its passwords are really to be replaced.")
    print(
        "\n".join(f"Made {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}" for path in made)
    )
