import inspect
import re
from pathlib import Path

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.results.backends.stub import StubBackend

from k9ops.broker.build import build_middleware
from k9ops.broker.jobs import describe_job
from k9ops.config.settings import get_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def broker() -> dramatiq.Broker:
    stub = StubBroker(middleware=build_middleware(get_settings(), StubBackend()))
    previous = dramatiq.broker.global_broker
    dramatiq.set_broker(stub)
    try:
        import k9ops.actors

        return k9ops.actors.broker
    finally:
        dramatiq.set_broker(previous)


def documented_jobs() -> dict[str, list[str]]:
    rows = re.findall(r"^\| `(\w+)` \| (`.*)$", (ROOT / "docs/jobs.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows}


def test_jobs_document_lists_every_actor_as_it_is(broker: dramatiq.Broker) -> None:
    jobs = documented_jobs()
    assert set(jobs) == broker.get_declared_actors()
    for name, (queue, priority, params, tries, limits, *_) in jobs.items():
        actor = broker.get_actor(name)
        job = describe_job(actor)
        assert queue == f"`{job.queue}`"
        assert int(priority) == actor.priority
        assert re.findall(r"\w+", params) == list(inspect.signature(actor.fn).parameters)
        assert int(tries) == job.retries.max_attempts
        assert job.soft_limit_s is not None
        assert limits == f"{job.soft_limit_s / 60:.0f} / {actor.options['time_limit'] / 60_000:.0f} min"


def test_actors_are_thin_and_take_keyword_scalars_only(broker: dramatiq.Broker) -> None:
    for name in broker.get_declared_actors():
        function = broker.get_actor(name).fn
        for parameter in inspect.signature(function).parameters.values():
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            scalars = ("str", "str | None", "bool", "int", "float")
            # What a report takes is said by its definition, not by the actor.
            allowed = (*scalars, "dict[str, str] | None", "list[str] | None") if name == "create_report" else scalars
            assert parameter.annotation in allowed, (name, parameter)
        assert function.__doc__


def test_actors_write_out_the_options_that_dramatiq_would_default(broker: dramatiq.Broker) -> None:
    for name in broker.get_declared_actors():
        assert {"max_retries", "time_limit", "soft_limit"} <= set(broker.get_actor(name).options)


def logged_events() -> set[str]:
    events = set()
    for path in (ROOT / "src").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        events |= set(re.findall(r"(?i)\b_?log\w*(?:\.\w+)?\(\s*(?:logging\.\w+,\s*)?\"([a-z_]+\.[a-z_]+)\"", source))
    return events


def test_events_document_lists_every_event_that_is_logged() -> None:
    documented = set(
        re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", (ROOT / "docs/events.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert documented == logged_events()
