from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dramatiq
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from tests.processes import wait_for

from k9ops.broker.build import K9opsRedisBroker, build_broker
from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.inline import execute_inline, record_inline_run
from k9ops.broker.sending import relay_unsent_runs
from k9ops.config.settings import Settings, get_loaded_settings, get_settings
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import dispose_engine, get_engine
from k9ops.errors import BrokerUnavailable, DatabaseUnavailable, ParamsInvalid
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import list_runs, record_run
from k9ops.ledger.slots import pause_schedule, read_clock, read_schedule_states, resume_schedule
from k9ops.outcome import Outcome
from k9ops.periodic.dispatcher import DispatchedSlot, dispatch_due_slots, load_timetable
from k9ops.periodic.timetable import CatchUp, Schedule

MINUTE = timedelta(minutes=1)
START = datetime(2036, 11, 24, 12, 0, 0, 300, tzinfo=UTC)
Dispatch = Callable[..., list[DispatchedSlot]]


def every(minutes: int, catch_up: CatchUp, *, lateness_s: float | None = None) -> Schedule:
    cron = f"*/{minutes} * * * *" if minutes < 60 else f"30 {12 if minutes == 1440 else '*'} * * *"
    return Schedule("probe", "probe", cron, "* * * * *", catch_up, lateness_s)


def declare_probe(broker: dramatiq.Broker, done: list[str] | None = None, gate: threading.Event | None = None) -> None:
    @dramatiq.actor(broker=broker, actor_name="probe", queue_name="probes", max_retries=0)
    def probe(*, slot: str) -> Outcome:
        if gate is not None:
            gate.wait(30)
        if done is not None:
            done.append(slot)
        return Outcome("succeeded", "Done.", {"slot": slot})


@pytest.fixture
def dispatch(engine: Engine, broker: K9opsRedisBroker) -> Dispatch:
    declare_probe(broker)

    def call(now: datetime, *timetable: Schedule) -> list[DispatchedSlot]:
        return dispatch_due_slots(engine, broker, get_settings(), now=now, timetable=timetable)

    return call


def find_slots_with_runs(engine: Engine) -> list[datetime]:
    return sorted(run.slot for run in list_runs(engine, limit=10_000) if run.slot)


def test_first_tick_takes_the_slot_of_its_own_minute_and_none_before(engine: Engine, dispatch: Dispatch) -> None:
    (item,) = dispatch(START, every(5, "all"))
    assert (item.slot, item.is_new) == (START.replace(microsecond=0), True)
    (run,) = list_runs(engine)
    assert (run.trigger, run.slot, run.params) == ("schedule", item.slot, {"slot": item.slot.isoformat()})
    assert (run.state, run.sends) == ("queued", 0)


# 12:00 is dispatched; then nothing runs for the downtime, and one tick comes.
@pytest.mark.parametrize(
    ("downtime", "minutes", "due"),
    [
        (timedelta(seconds=20) + 4 * MINUTE + timedelta(seconds=50), 5, 1),
        (10 * MINUTE + timedelta(seconds=30), 5, 2),
        (timedelta(days=3), 1440, 3),
        (timedelta(days=14), 1440, 14),
        (timedelta(days=14), 5, 14 * 288),
    ],
)
@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_downtime_ends_in_the_runs_of_the_policy(
    engine: Engine, dispatch: Dispatch, downtime: timedelta, minutes: int, due: int, catch_up: CatchUp
) -> None:
    schedule = every(minutes, catch_up)
    dispatch(START, schedule)
    before = set(find_slots_with_runs(engine))
    now = START + downtime
    dispatch(now, schedule)
    new = [slot for slot in find_slots_with_runs(engine) if slot not in before]
    is_last_on_time = minutes == 5  # every one of these downtimes ends within two minutes of a slot
    expected = {"none": 1 if is_last_on_time else 0, "latest": 1, "all": due}[catch_up]
    assert len(new) == expected
    assert all(START < slot <= now for slot in new)
    if catch_up == "latest":
        assert now - new[0] < timedelta(minutes=minutes)
    state = read_schedule_states(engine)["probe"]
    assert (state.dispatched_until, state.missed) == (now, due - expected)
    assert dispatch(now, schedule) == dispatch(now + timedelta(seconds=10), schedule) == []


def test_late_slots_are_missed_for_good_and_runs_expire(engine: Engine, dispatch: Dispatch) -> None:
    schedule = every(5, "all", lateness_s=900)
    dispatch(START, schedule)
    items = dispatch(START + 60 * MINUTE + timedelta(seconds=1), schedule)
    assert [item.slot for item in items] == [START.replace(microsecond=0) + n * MINUTE for n in (50, 55, 60)]
    for run in list_runs(engine):
        assert run.slot is not None
        assert run.expires_at == run.slot + timedelta(seconds=900)


def test_five_restarts_within_a_minute_make_one_run(engine: Engine, dispatch: Dispatch) -> None:
    for second in (0, 11, 22, 33, 44):
        dispatch(START + timedelta(seconds=second), every(5, "all"))
    assert len(list_runs(engine)) == 1


def test_three_schedulers_at_once_make_one_run_for_each_slot(engine: Engine, dispatch: Dispatch) -> None:
    barrier = threading.Barrier(3)
    items: list[DispatchedSlot] = []
    errors: list[Exception] = []

    def rings() -> None:
        for minute in range(60):
            barrier.wait(30)
            try:
                items.extend(dispatch(START + minute * MINUTE, every(1, "all")))
            except Exception as exc:
                errors.append(exc)

    threads = [threading.Thread(target=rings) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(item.is_new for item in items) == len(items) == 60
    assert Counter(find_slots_with_runs(engine)).most_common(1)[0][1] == 1


def test_dispatcher_that_dies_in_its_transaction_has_changed_nothing(
    engine: Engine, dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = every(5, "all")
    dispatch(START, schedule)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("k9ops.periodic.dispatcher.advance_schedule", die)
        with pytest.raises(KeyboardInterrupt):
            dispatch(START + 5 * MINUTE, schedule)
    assert len(list_runs(engine)) == 1
    assert len(dispatch(START + 6 * MINUTE, schedule)) == 1


def test_slot_that_a_person_ran_already_is_not_run_again(engine: Engine, dispatch: Dispatch) -> None:
    slot = START.replace(microsecond=0)
    asked = NewRun(job="probe", queue="probes", slot=slot, trigger="cli")
    record_run(engine, asked, is_sent=True)
    (item,) = dispatch(START, every(5, "all"))
    assert (item.is_new, item.run_id) == (False, asked.id)
    assert len(list_runs(engine)) == 1


def test_dry_run_of_a_slot_does_not_take_it(engine: Engine, broker: K9opsRedisBroker) -> None:
    @dramatiq.actor(broker=broker, actor_name="probe", queue_name="probes", max_retries=0)
    def probe(*, slot: str, dry_run: bool = False) -> Outcome:
        return Outcome("succeeded", "Done.", {"slot": slot})

    slot, settings = datetime(2026, 11, 24, 12, tzinfo=UTC), get_settings()
    params = {"slot": slot.isoformat(), "dry_run": True}
    enqueue_run(engine, broker, settings, probe, params)
    execute_inline(engine, broker, settings, record_inline_run(engine, probe, params, trigger="cli", requested_by=None))
    probe.send(**params)
    (item,) = dispatch_due_slots(engine, broker, settings, now=slot, timetable=[every(5, "all")])
    assert item.is_new


def test_slot_cannot_be_taken_before_it_comes(engine: Engine, broker: K9opsRedisBroker) -> None:
    declare_probe(broker)
    params = {"slot": (read_clock(engine) + timedelta(hours=1)).isoformat()}
    with pytest.raises(ParamsInvalid, match="future"):
        enqueue_run(engine, broker, get_settings(), broker.get_actor("probe"), params)
    with pytest.raises(ParamsInvalid, match="future"):
        record_inline_run(engine, broker.get_actor("probe"), params, trigger="cli", requested_by=None)
    broker.get_actor("probe").send(**params)
    assert find_slots_with_runs(engine) == []


def test_paused_schedule_counts_what_it_misses_and_goes_on_with_the_next(engine: Engine, dispatch: Dispatch) -> None:
    schedule = every(5, "all")
    dispatch(START, schedule)
    assert pause_schedule(engine, "probe", paused_by="operator")
    assert not pause_schedule(engine, "probe", paused_by="another")
    assert dispatch(START + 20 * MINUTE, schedule) == []
    state = read_schedule_states(engine)["probe"]
    assert (state.missed, state.paused_by) == (4, "operator")
    assert resume_schedule(engine, "probe", resumed_by="omar")
    assert [item.slot for item in dispatch(START + 25 * MINUTE, schedule)] == [
        START.replace(microsecond=0) + 25 * MINUTE
    ]


def find_events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]


def test_clock_that_is_put_right_does_not_stop_the_schedule(
    engine: Engine, dispatch: Dispatch, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = every(5, "all")
    dispatch(START + timedelta(days=4000), schedule)
    caplog.clear()
    assert dispatch(START, schedule) == []
    assert find_events(caplog) == ["clock.set_back"]
    assert len(dispatch(START + 5 * MINUTE, schedule)) == 1
    assert dispatch(START + 4 * MINUTE, schedule) == []  # a small step back: decided already
    assert read_schedule_states(engine)["probe"].dispatched_until == START + 5 * MINUTE


def test_slots_that_have_a_run_are_not_missed_when_the_clock_comes_back(engine: Engine, dispatch: Dispatch) -> None:
    schedule = every(5, "latest")
    dispatch(START, schedule)
    dispatch(START + 5 * MINUTE, schedule)
    assert dispatch(START - 6 * MINUTE, schedule) == []
    dispatch(START + 10 * MINUTE, schedule)
    assert len(find_slots_with_runs(engine)) == 3
    assert read_schedule_states(engine)["probe"].missed == 1  # five minutes before the first


def test_scheduler_that_stood_still_does_not_set_a_schedule_back(
    engine: Engine, dispatch: Dispatch, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = every(5, "all")
    now = read_clock(engine)
    dispatch(now - 60 * MINUTE, schedule)
    pause_schedule(engine, "probe", paused_by="operator")
    assert resume_schedule(engine, "probe", resumed_by="omar")
    caplog.clear()
    # It read the clock, was suspended, and another scheduler has decided meanwhile.
    assert dispatch(now - 30 * MINUTE, schedule) == []
    assert find_events(caplog) == []
    assert read_schedule_states(engine)["probe"].dispatched_until >= now


def test_schedule_that_cannot_be_decided_holds_up_no_other(
    engine: Engine, dispatch: Dispatch, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = Schedule("unknown", "no_such_job", "* * * * *", "* * * * *", "all")
    caplog.clear()
    assert [item.schedule for item in dispatch(START, unknown, every(5, "all"))] == ["probe"]
    assert find_events(caplog)[0] == "schedule.undecided"
    assert list(read_schedule_states(engine)) == ["probe"]


def test_missing_tables_are_said_once_for_all_schedules(engine: Engine, dispatch: Dispatch) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE k9ops.schedule"))
    with pytest.raises(ProgrammingError):
        dispatch(START, every(5, "all"), every(5, "latest"))


def set_backup(engine: Engine, frequency: str, hour: int) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM public.backup_settings"))
        connection.execute(
            text(
                "INSERT INTO public.backup_settings (id, auto_backup_enabled, backup_frequency, backup_hour,"
                " retention_days, google_drive_enabled, created_at, updated_at)"
                " VALUES (1, true, CAST(:frequency AS public.backupfrequency), :hour, 30, false, now(), now())"
            ),
            {"frequency": frequency, "hour": hour},
        )


def test_backup_settings_hold_from_the_next_tick_on(engine: Engine) -> None:
    from k9ops.actors import broker  # the jobs themselves: nothing is sent here

    build_metadata("B").create_all(engine)
    settings = get_settings()

    def ticks(day: int, hour: int, minutes: int) -> list[str]:
        base = datetime(2036, 11, day, hour, 0, 0, 300, tzinfo=settings.zone).astimezone(UTC)
        found = [
            item.slot.astimezone(settings.zone)
            for minute in range(minutes)
            for item in dispatch_due_slots(engine, broker, settings, now=base + minute * MINUTE)
            if item.schedule == "create_backup"
        ]
        return [f"{slot:%a %d %H:%M}" for slot in found]

    set_backup(engine, "DISABLED", 2)
    assert ticks(20, 1, 65) == []  # Thursday
    set_backup(engine, "DAILY", 4)
    assert ticks(20, 3, 65) == ["Thu 20 04:00"]
    set_backup(engine, "WEEKLY", 4)
    assert ticks(21, 3, 65) == []
    assert ticks(23, 3, 65) == ["Sun 23 04:00"]
    set_backup(engine, "MONTHLY", 5)
    assert ticks(24, 4, 65) == []
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.schedule SET dispatched_until = '2036-11-30T20:00Z'"))
    base = datetime(2036, 12, 1, 5, 0, 1, tzinfo=settings.zone).astimezone(UTC)
    slots = {item.schedule: item.slot for item in dispatch_due_slots(engine, broker, settings, now=base)}
    assert slots["create_backup"] == base.replace(second=0)


def test_unreadable_backup_settings_leave_the_rest_of_the_timetable(
    engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.backup_settings (id int)"))
    names = {schedule.name for schedule in load_timetable(settings, engine)}
    assert "create_backup" not in names
    assert {"lock_schedules", "clean_notifications"} <= names
    assert find_events(caplog) == ["schedule.unreadable"]


@pytest.mark.parametrize("hour", [24, -1])
def test_backup_hour_that_is_none_leaves_the_rest_of_the_timetable(
    engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture, hour: int
) -> None:
    build_metadata("B").create_all(engine)
    set_backup(engine, "DAILY", hour)
    names = {schedule.name for schedule in load_timetable(settings, engine)}
    assert "create_backup" not in names
    assert {"lock_schedules", "relay_outbox"} <= names
    assert find_events(caplog) == ["schedule.unreadable"]


def test_locked_backup_settings_leave_the_rest_of_the_timetable(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build_metadata("B").create_all(engine)
    monkeypatch.setenv("K9OPS_LOCK_TIMEOUT_S", "1")
    get_loaded_settings.cache_clear()
    dispose_engine()
    with get_engine().connect() as other:
        other.execute(text("LOCK TABLE public.backup_settings IN ACCESS EXCLUSIVE MODE"))
        names = {schedule.name for schedule in load_timetable(get_settings(), get_engine())}
    assert "create_backup" not in names
    assert "lock_schedules" in names
    assert find_events(caplog) == ["schedule.unreadable"]


def test_database_that_was_away_costs_no_slot(
    engine: Engine, dispatch: Dispatch, settings: Settings, database_url: str
) -> None:
    schedule = every(5, "latest")
    dispatch(START, schedule)
    name = database_url.rpartition("/")[2]
    with psycopg.connect(f"{database_url.rpartition('/')[0]}/postgres", autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        with pytest.raises(DatabaseUnavailable):
            dispatch(START + 5 * MINUTE, schedule)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert len(dispatch(START + 6 * MINUTE, schedule)) == 1


def test_slot_comes_due_while_redis_is_away_and_runs_when_it_is_back(engine: Engine, broker: K9opsRedisBroker) -> None:
    done: list[str] = []
    declare_probe(broker, done)
    settings = get_settings()
    away = build_broker(settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1")}))
    declare_probe(away)
    now = read_clock(engine)
    items = dispatch_due_slots(engine, away, settings, now=now, timetable=[every(1, "all")])
    with pytest.raises(BrokerUnavailable):
        relay_unsent_runs(engine, away, resend_after_s=1)
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        wait_for(lambda: [run.state for run in list_runs(engine)] == ["succeeded"])
    finally:
        worker.stop()
    assert done == [items[0].slot.isoformat()]


def test_slots_wait_while_every_worker_is_busy(engine: Engine, broker: K9opsRedisBroker) -> None:
    done: list[str] = []
    gate = threading.Event()
    declare_probe(broker, done, gate)
    settings = get_settings()
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        # Ten minutes of slots come due while the one thread sits in the first of them.
        now = read_clock(engine).replace(second=0)
        for minute in range(11):
            dispatch_due_slots(engine, broker, settings, now=now + minute * MINUTE, timetable=[every(1, "all")])
            if minute == 0:
                wait_for(lambda: [run.state for run in list_runs(engine)] == ["running"])
        wait_for(lambda: all(run.sends for run in list_runs(engine)))
        gate.set()
        wait_for(lambda: {run.state for run in list_runs(engine)} == {"succeeded"})
    finally:
        gate.set()
        worker.stop()
    assert Counter(done) == Counter(
        (now.replace(microsecond=0) + minute * MINUTE).astimezone(UTC).isoformat() for minute in range(11)
    )
