"""RabbitMQ nodes from Debian's package: on free ports, with their own names, cookie, folders and port mapper."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.certificates import Authority
from tests.processes import DEADLINE_S, wait_for

from k9ops.embedded.process import find_free_port

_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
default_user = k9ops
default_pass = {password}
loopback_users = none
log.file.level = warning
log.console = false
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {first_node}
"""
# Few threads, no busy waiting: it is one of many servers here.
_ERLANG = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none +A 4"


@dataclass(frozen=True)
class Cluster:
    """What the nodes of a cluster have in common; a single node is a cluster of one.

    Attributes:
        mapper_port: Where they find each other's ports.
        cookie: By which they trust each other.
        password: Of the user.
        first_node: Whom the others join.
    """

    mapper_port: int = field(default_factory=find_free_port)
    cookie: str = field(default_factory=lambda: secrets.token_hex(10), repr=False)
    password: str = field(default_factory=lambda: secrets.token_hex(12), repr=False)
    first_node: str = field(default_factory=lambda: f"k9-{secrets.token_hex(4)}@localhost")

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment of a program of Erlang that belongs to the cluster."""
        cookie = home / ".erlang.cookie"
        cookie.touch(mode=0o600)
        cookie.write_text(self.cookie)
        return {
            "PATH": "/usr/bin:/bin:/usr/sbin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    @contextmanager
    def mapping(self, home: Path) -> Iterator[None]:
        """Let a mapper of ports run; not left to the nodes, which would leave a daemon behind."""
        mapper = subprocess.Popen(["/usr/bin/epmd"], env=self.environment(home), stdin=subprocess.DEVNULL)
        try:
            yield
        finally:
            mapper.kill()
            mapper.wait(DEADLINE_S)


class RabbitmqServer:
    """The node; `kill` and `start` keep its data and its ports.

    Args:
        folder: Of its data; made here.
        cluster: Where it belongs.
        node: Its name; None for the first of the cluster.

    Attributes:
        node: Its name.
        authority: Of its certificate, and of those that it asks of who connects with TLS.
        port: Where it speaks without TLS.
        tls_port: Where it speaks TLS.
        password: Of its user.
    """

    def __init__(self, folder: Path, cluster: Cluster, *, node: str | None = None) -> None:
        folder.mkdir()
        self._folder = folder
        self.node = node or cluster.first_node
        self.password = cluster.password
        self.port = find_free_port()
        self.tls_port = find_free_port()
        self.authority = Authority(folder / "authority")
        certificate, key = self.authority.issue("rabbitmq")
        (folder / "rabbitmq.conf").write_text(
            _CONFIG.format(
                port=self.port,
                tls_port=self.tls_port,
                ca=self.authority.ca_file,
                certificate=certificate,
                key=key,
                password=self.password,
                first_node=cluster.first_node,
            )
        )
        (folder / "plugins").write_text("[].\n")
        self._environment = {
            **cluster.environment(folder),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(find_free_port()),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://k9ops:{self.password}@127.0.0.1:{self.port}/%2F"

    @property
    def tls_url(self) -> str:
        """The URL with TLS, without any certificate."""
        return f"amqps://k9ops:{self.password}@127.0.0.1:{self.tls_port}/%2F"

    def tls_url_of(self, client: str) -> str:
        """Return the URL with TLS, with the certificate of the authority and one for a client."""
        certificate, key = self.authority.issue(client)
        return f"{self.tls_url}?cacertfile={self.authority.ca_file}&certfile={certificate}&keyfile={key}"

    def start(self) -> None:
        """Start the node, and return when it takes connections."""
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [_PROGRAM],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_for(lambda: self._answers() or self._process is None or self._process.poll() is not None, 120)
        assert self._process.poll() is None, (self._folder / "output").read_text()[-2000:]

    def kill(self) -> None:
        """End the node at once, without a goodbye to anybody; harmless when it has ended."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE_S)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the node do nothing during the block, with its connections open."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def ask(self, *arguments: str) -> str:
        """Return what `rabbitmqctl` says; "" when it has no answer in time, as while a cluster finds itself again."""
        done = subprocess.run(
            [_CONTROL, "--node", self.node, "--timeout", "20", *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S * 2,
            check=False,
        )
        return "" if done.returncode else done.stdout

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False
