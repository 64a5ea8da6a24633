"""Hosts of their own on this machine, each on a link that can be cut and joined again.

Where root may make network namespaces a host is one, with its own name, and its link is a pair of virtual interfaces:
a cut one drops packets and tells nobody, as a broken switch does. Elsewhere a host is a group of plain processes whose
connections go through a proxy, and a cut proxy passes no byte on and closes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import ROOT, end_session

# Of the range for tests between networks (RFC 2544); each pair of namespaces has them for itself.
_OUTSIDE, _INSIDE = "198.19.0.1", "198.19.0.2"
_LINK = "link0"
_CHUNK_BYTES = 65_536
_TICK_S = 0.05


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def can_have_namespaces() -> bool:
    """Tell whether network namespaces with links can be made here; `K9OPS_TEST_HOSTS=processes` says no."""
    if os.environ.get("K9OPS_TEST_HOSTS") == "processes" or os.geteuid() != 0:
        return False
    name = f"k9t{secrets.token_hex(3)}"
    try:
        is_made = _run("ip", "netns", "add", name)
        return is_made and _run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p", "netns", name)
    except FileNotFoundError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            _run("ip", "netns", "delete", name)


def _listen(address: str, namespace: str) -> socket.socket:
    """Return a listening socket of a namespace, "" for this one's; a socket stays where it was made (setns(2))."""
    made: list[socket.socket] = []

    def make() -> None:
        if namespace:
            with Path(f"/run/netns/{namespace}").open() as file:
                assert ctypes.CDLL(None).setns(file.fileno(), 0) == 0
        made.append(socket.create_server((address, 0)))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


class Forwarder:
    """Passes the connections of a listener on to a server of this machine, in a thread, while it is not cut."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self._listener = listener
        self.port: int = self._listener.getsockname()[1]
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._stopped = threading.Event()
        self.is_joined = threading.Event()
        self.is_joined.set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self.is_joined.set()
        self._thread.join()
        for item in (*self._peers, self._listener, self._selector):
            item.close()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self.is_joined.wait()
            for key, _ in self._selector.select(_TICK_S):
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._listener:
                    self._accept()
                elif source in self._peers:
                    self._pass_on(source)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(_CHUNK_BYTES)
            if data:
                self._peers[source].sendall(data)
                return
        except OSError:
            pass
        for end in (source, self._peers[source]):
            self._selector.unregister(end)
            del self._peers[end]
            end.close()


class Host:
    """A host, or what stands for one.

    Args:
        name: Its name, also in the ledger where it is a namespace.
        is_namespace: Whether it is one.
    """

    def __init__(self, name: str, *, is_namespace: bool) -> None:
        self.name = name
        self._namespace = f"k9{secrets.token_hex(4)}" if is_namespace else ""
        self._outside = f"{self._namespace}x" if is_namespace else ""
        self._forwarders: list[Forwarder] = []
        if is_namespace:
            self._make_link()

    def reach(self, url: str) -> str:
        """Return the URL by which this host reaches a server of this machine."""
        found = re.fullmatch(r"(.*@)127\.0\.0\.1:(\d+)(.*)", url)
        assert found is not None
        address = _OUTSIDE if self._namespace else "127.0.0.1"
        forwarder = Forwarder(_listen(address, self._outside), ("127.0.0.1", int(found[2])))
        self._forwarders.append(forwarder)
        return f"{found[1]}{address}:{forwarder.port}{found[3]}"

    def cut(self) -> None:
        """Let nothing through any more, in either direction."""
        if self._namespace:
            assert _run("ip", "-n", self._outside, "link", "set", _LINK, "down")
            return
        for forwarder in self._forwarders:
            forwarder.is_joined.clear()

    def join(self) -> None:
        """Let everything through again, what was held up too."""
        if self._namespace:
            assert _run("ip", "-n", self._outside, "link", "set", _LINK, "up")
            return
        for forwarder in self._forwarders:
            forwarder.is_joined.set()

    @contextmanager
    def worker(self, module: str, environment: dict[str, str], *, log: Path, threads: int) -> Iterator[None]:
        """Run a worker of one process on this host during the block."""
        command = [sys.executable, "-m", "dramatiq", module, "-p", "1", "-t", str(threads), "--skip-logging"]
        if self._namespace:
            name_it = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', self.name]
            command = ["ip", "netns", "exec", self._namespace, *name_it, *command]
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment, "K9OPS_TEST_HOST": self.name},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            yield
        finally:
            end_session(process)

    def close(self) -> None:
        """Remove the host."""
        for forwarder in self._forwarders:
            forwarder.close()
        for name in filter(None, (self._namespace, self._outside)):
            _run("ip", "netns", "delete", name)

    def _make_link(self) -> None:
        # Both ends stand in namespaces, so that this machine's own addresses and routes stay as they are.
        here, there = self._outside, self._namespace
        for name in (here, there):
            assert _run("ip", "netns", "add", name)
        assert _run("ip", "-n", here, "link", "add", _LINK, "type", "veth", "peer", "name", _LINK, "netns", there)
        for name, address in ((here, _OUTSIDE), (there, _INSIDE)):
            assert _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", _LINK)
            for interface in (_LINK, "lo"):
                assert _run("ip", "-n", name, "link", "set", interface, "up")


@contextmanager
def host(name: str, *, is_namespace: bool) -> Iterator[Host]:
    """Have a host during the block."""
    made = Host(name, is_namespace=is_namespace)
    try:
        yield made
    finally:
        made.close()
