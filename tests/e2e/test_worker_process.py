"""A worker as a process of its own, as `dramatiq k9ops.actors` starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from tests.processes import DEADLINE_S, wait_for, worker_process

from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.enqueue import enqueue_run
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.model import Run
from k9ops.ledger.requests import get_run


def run_canary(broker: K9opsRedisBroker) -> Run:
    from k9ops.actors import canary

    run_id: uuid.UUID = enqueue_run(get_engine(), broker, get_settings(), canary, {}).run_id

    def ended() -> Run | None:
        run = get_run(get_engine(), run_id)
        return run if run.is_final else None

    run: Run = wait_for(ended)
    return run


def test_worker_process_answers_and_logs_json_lines(broker: K9opsRedisBroker, redis_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with worker_process("k9ops.actors", {"REDIS_URL": redis_url}, log=log):
        run = run_canary(broker)
    assert (run.state, run.path) == ("succeeded", "worker")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    finished = next(item for item in events if item["event"] == "run.finished")
    assert (finished["run_id"], finished["job"], finished["state"]) == (str(run.id), "canary", "succeeded")
    assert finished["evidence"] == run.evidence
    assert {"worker.started", "run.started", "worker.stopped"} <= {item["event"] for item in events}


def test_worker_process_offers_metrics_where_it_is_told(
    broker: K9opsRedisBroker, redis_url: str, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def read() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            return ""

    environment = {"REDIS_URL": redis_url, "K9OPS_METRICS_PORT": str(port), "TMPDIR": str(tmp_path)}
    with worker_process("k9ops.actors", environment):
        run_canary(broker)
        metrics = wait_for(lambda: text if "canary" in (text := read()) else "")
    assert 'dramatiq_messages_total{actor_name="canary",queue_name="k9_tasks"} 1.0' in metrics


def test_worker_process_ends_with_the_variables_name_when_a_setting_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dramatiq", "k9ops.actors", "-p", "1", "-t", "1"],
        env={**os.environ, "K9OPS_LEASE_S": "never"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode != 0
    assert "K9OPS_LEASE_S = 'never': must be a valid integer" in done.stdout + done.stderr
