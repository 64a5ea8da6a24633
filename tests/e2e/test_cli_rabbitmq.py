"""The whole service with RabbitMQ as its broker, and without any Redis."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

from tests.e2e.conftest import Command, wait_for
from tests.rabbitmq_server import RabbitmqServer

from k9ops.embedded.process import find_free_port


def test_service_runs_on_rabbitmq_without_a_redis(k9ops: Command, rabbitmq_server: RabbitmqServer) -> None:
    del k9ops.environment["REDIS_URL"]
    k9ops.environment["K9OPS_BROKER_URL"] = rabbitmq_server.url
    password = urlsplit(rabbitmq_server.url).password or ""
    port = find_free_port()
    with k9ops.started("up") as process:
        wait_for(lambda: k9ops.output().count("ready for action") == 3 or process.poll() is not None)
        checks = {item["name"]: item for item in k9ops.json("check", "--timeout", "60", code=1)["checks"]}
        queues = k9ops.json("inspect", "queues")["queues"]
        with k9ops.started("web", into="web.log", K9OPS_WEB_PORT=str(port)):
            wait_for(lambda: is_ready(port))
        shown = k9ops("config", "show").stdout
        process.terminate()
        process.wait(timeout=60)
    said = k9ops.output()
    assert "Messages go through RabbitMQ on 127.0.0.1:" in said
    assert "Valkey" not in said
    assert "Traceback" not in said
    assert checks["rabbitmq"]["status"] == "ok"
    assert "redis" not in checks
    assert {checks[f"queue {item['queue']}"]["status"] for item in queues} == {"ok"}
    assert {(item["waiting"], item["fetched"], item["is_served"]) for item in queues} == {(0, None, True)}
    assert password not in said + shown


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_check_says_what_to_do_when_rabbitmq_is_away(k9ops: Command) -> None:
    url = f"amqp://k9:secretpw@127.0.0.1:{find_free_port()}"
    checks = {item["name"]: item for item in k9ops.json("check", code=1, K9OPS_BROKER_URL=url)["checks"]}
    assert (checks["rabbitmq"]["status"], checks["rabbitmq"]["message"]) == ("fail", "RabbitMQ does not answer.")
    assert checks["rabbitmq"]["advice"] == "Start RabbitMQ, or correct K9OPS_BROKER_URL."
