from __future__ import annotations

import json
import logging
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from k9ops.config.logging import get_logger, listen_to_log
from k9ops.ledger.run_log import KEPT_LINES, LogTail, encode_log


def make_tail(**params: Any) -> LogTail:
    return LogTail(attempt=2, params=params, private_params={"token", "people", "absent"})


def test_line_has_its_fields_and_not_what_the_run_says_already() -> None:
    tail = make_tail()
    tail.add({"event": "backup.verified", "level": "info", "at": "2026", "rows": 5, "run_id": "x", "worker": "w"})
    tail.add({"event": "run.started", "level": "info"})
    assert tail.pending() == (
        [{"attempt": 2, "n": 1, "event": "backup.verified", "level": "info", "at": "2026", "rows": 5}], 1,
    )  # fmt: skip


def test_private_values_and_passwords_are_hidden_wherever_they_stand() -> None:
    tail = make_tail(token="s3cret", people={"names": ["سالم العتيبي", 4711]}, rows=5)
    error = ValueError("s3cret is wrong")
    tail.add({"event": "x", "token": 1, "said": "the token s3cret", "list": ["سالم العتيبي"], "n2": 4711, "rows": 5})
    tail.add({"event": "s3cret", "url": "postgresql://k9:hidden@db/k9", "exc_info": error})
    text = json.dumps(tail.pending()[0], ensure_ascii=False)
    for secret in ("s3cret", "سالم", "4711", "hidden@"):
        assert secret not in text
    assert '"rows": 5' in text
    assert "ValueError: ••• is wrong" in text


def test_private_value_is_hidden_also_as_json_and_python_write_it() -> None:
    secret = 'pass"word\\ of\nعمر'
    tail = make_tail(token=secret)
    tail.add({"event": "x", "given": {"token": secret}, "list": [secret], "said": f"got {secret!r}", "plain": secret})
    text = json.dumps(tail.pending()[0], ensure_ascii=False)
    assert "word" not in text
    assert "عمر" not in text
    assert tail.hide(f"{secret!r} at postgresql://k9:hidden@db") == "'•••' at postgresql://k9:***@db"


def test_only_the_last_lines_are_kept_and_forgotten_ones_come_no_more() -> None:
    tail = make_tail()
    for number in range(KEPT_LINES + 10):
        tail.add({"event": "x", "number": number, "long": "y" * 10_000})
    lines, last = tail.pending()
    assert [line["number"] for line in lines] == list(range(10, KEPT_LINES + 10))
    assert max(len(json.dumps(line)) for line in lines) < 1000
    tail.add({"event": "late"})
    tail.forget(last)
    assert [line["event"] for line in tail.pending()[0]] == ["late"]
    assert encode_log([]) is None


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.floats(), st.integers(), st.lists(st.text()))))
def test_whatever_is_logged_becomes_json_that_postgresql_takes(event: dict[str, Any]) -> None:
    tail = make_tail()
    tail.add(event)
    encoded = encode_log(tail.pending()[0]) or "[]"
    json.loads(encoded, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))
    encoded.encode()


def test_listener_hears_its_own_thread_only_and_cannot_break_the_job() -> None:
    heard: list[Any] = []
    log = get_logger("k9ops.test_run_log")
    logging.getLogger("k9ops.test_run_log").setLevel(logging.INFO)

    def listen(event: Any) -> None:
        heard.append(dict(event))
        raise RuntimeError("a fault of the listener")

    listen_to_log(listen)
    try:
        log.info("thing.done", count=3)
        other = threading.Thread(target=lambda: log.info("thing.done_elsewhere"))
        other.start()
        other.join()
    finally:
        listen_to_log(None)
    log.info("thing.done_later")
    assert [(item["event"], item["count"], item["level"]) for item in heard] == [("thing.done", 3, "info")]
