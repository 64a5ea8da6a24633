"""Running a program: bytes in and out, silence, stopping, and nothing left behind."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k9ops.backups.connections import DatabaseTarget
from k9ops.backups.programs import CHUNK_BYTES, ProgramResult, run_program
from k9ops.errors import ClientFailed, ClientMemoryExceeded, RunInterrupted
from k9ops.outcome import Execution

TARGET = DatabaseTarget({"dbname": "k9", "host": "h", "password": "p@ss:/ %w\"\\'"})
DEADLINE_S = 20


def shell(script: str, **options: object) -> ProgramResult:
    values: dict[str, object] = {"target": TARGET, "execution": Execution(), "stall_s": DEADLINE_S, "memory_mb": 512}
    return run_program(["/bin/sh", "-c", script, "sh"], **values | options)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still alive"


def test_run_program_moves_every_byte_both_ways_at_once() -> None:
    chunks = [os.urandom(CHUNK_BYTES // 3) for _ in range(40)]
    expected, found = hashlib.sha256(b"".join(chunks)), hashlib.sha256()
    result = shell("cat", source=chunks, sink=found.update)
    assert result == ProgramResult(0, "")
    assert found.digest() == expected.digest()


def test_run_program_ends_when_the_program_reads_nothing_of_what_it_is_fed() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(CHUNK_BYTES)

    result = shell("echo 'pg_restore: error: no' >&2; exit 3", source=endless())
    assert (result.return_code, result.first_error) == (3, "no")


def test_run_program_keeps_the_end_of_many_messages_and_does_not_block_on_them() -> None:
    result = shell(
        "i=0; while [ $i -lt 20000 ]; do echo 'a message of some length' >&2; i=$((i+1)); done; echo end >&2"
    )
    assert result.messages.endswith("end")
    assert len(result.messages) <= 64 * 1024


def test_run_program_shows_the_password_to_nobody_but_the_program() -> None:
    found = bytearray()
    shell('tr "\\0" " " < /proc/self/cmdline; echo "$0 $*"; echo "secret=$PGPASSWORD"', sink=found.extend)
    arguments, secret = found.decode().strip().rsplit("\n", 1)
    assert "dbname=k9 host=h" in arguments
    assert "p@ss" not in arguments
    assert secret == "secret=" + TARGET.parameters["password"]


def test_run_program_kills_the_whole_group_when_the_run_must_stop() -> None:
    said = bytearray()

    def stop_when_started() -> None:
        if b"\n" in said:
            raise RunInterrupted("The worker shuts down.", reason="shutdown")

    with pytest.raises(RunInterrupted):
        shell("sleep 600 & echo $$ $!; wait", sink=said.extend, execution=Execution(check_stop=stop_when_started))
    for pid in map(int, said.split()):
        wait_until_dead(pid)


def test_run_program_kills_a_program_that_ignores_the_request_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k9ops.backups.programs._TERMINATE_WAIT_S", 0.2)
    said = bytearray()

    def stop_when_started() -> None:
        if b"\n" in said:
            raise RunInterrupted("The worker shuts down.", reason="shutdown")

    with pytest.raises(RunInterrupted):
        shell(
            "trap '' TERM; echo $$; while :; do sleep 1; done",
            sink=said.extend,
            execution=Execution(check_stop=stop_when_started),
        )
    wait_until_dead(int(said))


def test_run_program_ends_one_that_moves_nothing() -> None:
    said = bytearray()
    started = time.monotonic()
    with pytest.raises(ClientFailed, match=r"sh moved no byte for 0\.5 s"):
        shell("echo $$; sleep 600", sink=said.extend, stall_s=0.5)
    assert time.monotonic() - started < DEADLINE_S
    wait_until_dead(int(said))


def test_run_program_waits_for_one_that_works_in_silence() -> None:
    questions = []

    def is_busy() -> bool:
        questions.append(1)
        return True

    assert shell("sleep 1.2", stall_s=0.2, is_busy=is_busy).return_code == 0
    assert questions


def test_run_program_lets_an_error_of_the_sink_through_and_ends_the_program() -> None:
    said = bytearray()

    def refuse(chunk: memoryview) -> None:
        said.extend(chunk)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        shell("echo $$; sleep 600", sink=refuse)
    wait_until_dead(int(said))


def test_run_program_limits_the_address_space_of_the_program_and_its_children() -> None:
    said = bytearray()
    shell("read line; ulimit -v; sh -c 'ulimit -v'", source=[b"go\n"], sink=said.extend, memory_mb=300)
    assert said.split() == [b"307200", b"307200"]


@pytest.mark.parametrize(
    "words",
    [
        "pg_dump: error: query failed: cannot allocate memory for input buffer",
        "pg_dump: detail: Error message from server: out of memory",
        "out of memory",
    ],
)
def test_run_program_says_that_memory_was_refused_and_which_setting_allows_more(words: str) -> None:
    with pytest.raises(ClientMemoryExceeded, match=r"sh needs more than the 300 MB .* K9OPS_BACKUP_CLIENT_MEMORY_MB"):
        shell('echo "$0" >&2; exit 1'.replace("$0", words), memory_mb=300)


def test_run_program_leaves_the_memory_of_the_server_to_the_server() -> None:
    result = shell("echo 'pg_dump: error: query failed: ERROR:  out of memory' >&2; exit 1")
    assert result.problem == "query failed: ERROR:  out of memory"


def test_run_program_says_that_the_program_was_killed_from_outside() -> None:
    assert "too little memory" in shell("kill -9 $$").problem
