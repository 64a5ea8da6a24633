"""What can be said about Dockerfile, compose.yml and the units without a container engine."""

from __future__ import annotations

import importlib.util
import re
import shlex
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.make_secrets import make_secrets

from k9ops.cli.services import plan_workers
from k9ops.config.settings import load_settings

ROOT = Path(__file__).parents[2]
QUEUES = {"k9_tasks", "schedules", "backups", "reports", "notifications"}
LONG = {"worker-backups": "backups", "worker-reports": "reports"}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("worker", *LONG, "scheduler", "web")
UNITS = sorted((ROOT / "packaging/systemd").glob("*.service"), key=lambda path: path.stem)
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def served_queues(command: list[str]) -> set[str]:
    return set(command[command.index("--queues") + 1 :])


def test_compose_serves_every_queue_and_each_long_one_alone() -> None:
    assert served_queues(SERVICES["worker"]["command"]) == QUEUES - set(LONG.values())
    for name, queue in LONG.items():
        assert served_queues(SERVICES[name]["command"]) == {queue}
        assert SERVICES[name]["environment"]["dramatiq_queue_prefetch"] == "1"
    assert {queue for plan in plan_workers(sorted(QUEUES)) for queue in plan.queues} == QUEUES


def test_compose_publishes_the_dashboard_to_this_machine_alone_and_lets_services_scale() -> None:
    for name, service in SERVICES.items():
        published = service.get("ports", [])
        assert [port.partition(":")[0] for port in published] == (["127.0.0.1"] if name == "web" else []), name
        assert "container_name" not in service, name


@pytest.mark.parametrize("name", ["postgres", "redis", *OURS])
def test_every_service_comes_back_and_is_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service or "HEALTHCHECK" in DOCKERFILE
    assert service["stop_grace_period"] in ("60s", "120s")


@pytest.mark.parametrize("name", OURS)
def test_our_services_wait_for_what_they_need_and_have_no_rights(name: str) -> None:
    service = SERVICES[name]
    conditions = {needed: rule["condition"] for needed, rule in service["depends_on"].items()}
    needed = {"migrate": "service_completed_successfully", "postgres": "service_healthy"}
    # The scheduler needs no Redis: the workers send what it records.
    assert conditions == (needed if name == "scheduler" else {**needed, "redis": "service_healthy"})
    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)


def test_no_secret_stands_in_compose() -> None:
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if variable.endswith(("_URL", "PASSWORD")):
                raise AssertionError(variable)
            assert "://" not in str(value)
        assert "requirepass" not in str(service.get("command"))
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"


def test_images_are_pinned() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for image in images:
        assert re.search(r":\d+\.\d+", image), image
    assert SERVICES["postgres"]["image"].startswith("postgres:15.")
    assert SERVICES["redis"]["image"].startswith("redis:7.")


def test_dockerfile_copies_what_is_there_and_ends_as_an_ordinary_user() -> None:
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = shlex.split(line)
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source.removeprefix('./')}" in (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    locked = re.search(r'name = "uv"\nversion = "([\d.]+)"', (ROOT / "uv.lock").read_text(encoding="utf-8"))
    assert locked
    assert f"uv=={locked[1]}" in DOCKERFILE


def test_units_and_compose_start_the_same_commands() -> None:
    names = ("scheduler", "web", "worker", "worker-backups", "worker-reports")
    assert [unit.stem for unit in UNITS] == [f"k9ops-{name}" for name in names]
    for unit in UNITS:
        command = shlex.split(re.findall(r"^ExecStart=(.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE)[0])
        program = Path(command[0]).name
        assert [program, *command[1:]] == SERVICES[unit.stem.removeprefix("k9ops-")]["command"]
        assert program == "k9ops" or importlib.util.find_spec(command[1]) is not None


def test_secrets_fit_each_other_and_are_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    named = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert {path.name for path in folder.iterdir()} == named
    variables = {
        name: str(folder / name.removesuffix("_FILE").lower()) for name in ("DATABASE_URL_FILE", "REDIS_URL_FILE")
    }
    settings = load_settings(variables).settings
    assert settings.sqlalchemy_url.password == (folder / "k9_password").read_text(encoding="utf-8")
    key_file = {"K9OPS_SECRET_KEY_FILE": str(folder / "secret_key")}
    assert len(load_settings(key_file).settings.secret_keys) == 1
    password = (folder / "redis_password").read_text(encoding="utf-8")
    assert password in settings.effective_broker_url
    assert f"requirepass {password}\n" in (folder / "redis.conf").read_text(encoding="utf-8")
    with pytest.raises(FileExistsError):
        make_secrets(folder)
