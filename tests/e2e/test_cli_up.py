from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from tests.e2e.conftest import Command, wait_for

from k9ops.process_tree import ProcessId, find_descendants, still_running

WORKERS = 3


def read_environment(command: Command) -> dict[str, str]:
    text = (command.folder / ".k9ops" / "env").read_text(encoding="utf-8")
    return dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in text.splitlines())


@contextmanager
def running(command: Command, *options: str, **variables: str) -> Iterator[tuple[int, set[ProcessId]]]:
    """Run `k9ops up`; give its process id and all that it has started."""
    with command.started("up", *options, **variables) as process:
        wait_for(lambda: command.output().count("ready for action") == WORKERS or process.poll() is not None)
        assert process.poll() is None, command.output()
        processes = find_descendants(process.pid)
        try:
            yield process.pid, processes
        finally:
            process.terminate()
            process.wait(timeout=60)
    wait_for(lambda: not still_running(processes))
    assert not (command.folder / ".k9ops" / "env").exists() or process.returncode < 0


def check_dashboard(command: Command) -> None:
    """Log in with the password of the file, which stands nowhere else."""
    path = command.folder / ".k9ops" / "web-password"
    password = path.read_text(encoding="utf-8").strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert password not in command.output()
    (url,) = re.findall(r"Dashboard answers on (http://127.0.0.1:\d+)", command.output())
    with requests.Session() as session:
        wait_for(lambda: _answers(session, url))
        token = re.search(r'name="csrf" value="([^"]+)"', session.get(f"{url}/login", timeout=30).text)
        assert token
        form = {"csrf": token[1], "name": "local", "password": password}
        assert 'class="verdict' in session.post(f"{url}/login", data=form, timeout=30).text


def _answers(session: requests.Session, url: str) -> bool:
    try:
        return session.get(f"{url}/healthz", timeout=30).ok
    except requests.ConnectionError:
        return False


def test_up_needs_no_setting_and_keeps_its_data(bare_k9ops: Command) -> None:
    with running(bare_k9ops):
        path = bare_k9ops.folder / ".k9ops" / "env"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        variables = read_environment(bare_k9ops)
        assert set(variables) == {"DATABASE_URL", "REDIS_URL", "K9OPS_BACKUP_DIR", "K9OPS_REPORTS_DIR"}
        run = bare_k9ops.json("enqueue", "canary", "--timeout", "30", **variables)["run"]
        assert (run["state"], run["path"]) == ("succeeded", "worker")
        assert "Sample data: k9ops db seed" in bare_k9ops.output()
        check_dashboard(bare_k9ops)
        for secret in (variables["DATABASE_URL"].split(":")[2].split("@")[0], variables["REDIS_URL"][9:41]):
            assert secret not in bare_k9ops.output()
    assert bare_k9ops.output().splitlines()[-1].endswith("Everything is stopped.")
    with running(bare_k9ops):
        again = bare_k9ops.json("runs", "list", "--job", "canary", **read_environment(bare_k9ops))["runs"]
        assert [item["id"] for item in again] == [run["id"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_ends_with_0_and_stops_its_workers_in_order(empty_k9ops: Command, number: signal.Signals) -> None:
    with empty_k9ops.started("up") as process:
        wait_for(lambda: empty_k9ops.output().count("ready for action") == WORKERS)
        processes = find_descendants(process.pid)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert not still_running(processes)
    assert empty_k9ops.output().count("worker.stopped") == WORKERS
    assert "PostgreSQL runs" not in empty_k9ops.output()


def test_up_starts_a_worker_again_when_it_dies(empty_k9ops: Command) -> None:
    with running(empty_k9ops):
        match = re.search(r"Worker backups serves backups \(process (\d+)\)", empty_k9ops.output())
        assert match
        before = find_descendants(int(match[1]))
        os.kill(int(match[1]), signal.SIGKILL)
        wait_for(lambda: empty_k9ops.output().count("ready for action") == WORKERS + 1)
        assert "Worker backups ended with code -9; it is started again in 1 s." in empty_k9ops.output()
        assert not still_running(before)


def test_up_killed_takes_everything_with_it(bare_k9ops: Command) -> None:
    with running(bare_k9ops) as (pid, processes):
        assert {"postgres", "valkey-server"} <= {process.name for process in processes}
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not still_running(processes))


def test_up_ends_with_1_when_a_server_dies(bare_k9ops: Command) -> None:
    with running(bare_k9ops) as (_, processes):
        (valkey,) = [process for process in processes if process.name == "valkey-server"]
        os.kill(valkey.pid, signal.SIGKILL)
        wait_for(lambda: "Everything is stopped." in bare_k9ops.output())
    assert "The server of REDIS_URL has ended; its log is" in bare_k9ops.output()


def test_up_refuses_data_that_another_one_uses(bare_k9ops: Command) -> None:
    with running(bare_k9ops):
        done = bare_k9ops("up", code=1)
        assert "A server is already running on" in done.stderr


def test_up_writes_one_document_a_line_with_json(empty_k9ops: Command) -> None:
    with running(empty_k9ops, "--json"):
        pass
    events = [json.loads(line)["event"] for line in empty_k9ops.output().splitlines()]
    assert events[-1] == "stack.stopped"
    assert {"process.launched", "worker.started", "stack.ready"} <= set(events)
