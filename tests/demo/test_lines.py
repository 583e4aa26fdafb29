"""The demo's lines on events: similar events in one line, each kind readable."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from common.clocks import machine_time
from common.db.sql import run
from common.errors import MisconfiguredError
from config.celery import app
from config.env import Settings
from demo import event_feed, stack_options
from demo.accounts import DAY
from demo.event_feed import EventReader, Group
from demo.messages import MessageFormatter
from demo.paced_scheduler import PacedEntry, PacedScheduler
from demo.scenario import ALERTS, Answer, read_scenario
from ops.stack.stack import all_processes
from signals.models import Feed, Signal
from signals.reading.intake import read_signal
from users.models import User

LOST = "order.unknown"


def emit(kind: str, number: int = 1, **payload: Any) -> None:
    for _ in range(number):
        values = (kind, json.dumps(payload))
        run("INSERT INTO events_event (kind, payload) VALUES (%s, %s::jsonb)", values)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [machine_time()]
    monkeypatch.setattr(event_feed, "machine_time", lambda: now[0])
    return now


@pytest.mark.django_db
class TestEventReader:
    def test_similar_events_are_one_group_reported_after_a_pause(self, time: list[float]) -> None:
        reader = EventReader()
        emit("connection.error", 3, message="no answer")
        emit("connection.error", 1, message="not accepted")
        assert reader.poll() == []
        time[0] += 1
        groups = reader.poll()
        assert [(g.detail, len(g.events)) for g in groups] == [
            ("no answer", 3),
            ("not accepted", 1),
        ]
        time[0] += 1
        assert reader.poll(flush=True) == []

    def test_separate_reader_reports_each_event(self, time: list[float]) -> None:
        reader = EventReader(separate=True)
        emit(LOST, 3)
        assert [len(group.events) for group in reader.poll(flush=True)] == [1, 1, 1]

    def test_event_that_was_committed_late_is_reported(self, time: list[float]) -> None:
        reader = EventReader()
        run("INSERT INTO events_event (id, kind) VALUES (1000000, %s)", (LOST,))
        assert len(reader.poll(flush=True)) == 1
        run("INSERT INTO events_event (id, kind) VALUES (999999, %s)", (LOST,))
        time[0] += 1
        assert [e.id for g in reader.poll(flush=True) for e in g.events] == [999_999]
        time[0] += 100
        assert reader.poll(flush=True) == []


def event(**fields: Any) -> SimpleNamespace:
    plain: dict[str, Any] = {
        "kind": "order.filled", "signal_id": None, "leg": "entry", "reason": "", "ms": None,
        "order_type": "MARKET", "slippage_pips": None, "slippage_unit": "PIPS",
        "filled_at": None, "created_at": DAY,
        "payload": {}, "is_open": False, "connection": "Main", "username": "anna",
        "id": 1, "connection_id": None, "order_id": None,
    }  # fmt: skip
    return SimpleNamespace(**{**plain, **fields})


@pytest.mark.parametrize(
    ("leg", "detail"),
    [
        ("entry", "entry"), ("entry-2", "entry"), ("sl", "sl"), ("sl-2", "sl"), ("sl+2", "sl"),
        ("close-1+2", "close"), ("tp-1", "tp-1"), ("tp-1+2", "tp-1"), ("tp-2.2", "tp-2"),
        ("tp-2.2+3", "tp-2"),
    ],
)  # fmt: skip
def test_orders_of_one_exit_are_one_line(leg: str, detail: str) -> None:
    assert event_feed.detail_of(event(leg=leg)) == detail


def line(kind: str, detail: str, *events: SimpleNamespace) -> str | None:
    message = MessageFormatter(lambda at: at).line(Group(kind, None, detail, list(events)))
    return message.text if message else None


@pytest.mark.parametrize(
    ("text", "kind", "detail", "events"),
    [
        ("2 filled, first after 41 ms, slippage -0.1 to +31.0 pips", "order.filled", "entry",
         [event(ms=41.2, slippage_pips=31), event(ms=90, slippage_pips=-0.1)]),
        ("2 filled, slippage +31.0 pips", "order.filled", "entry",
         [event(order_type="STOP", slippage_pips=31)] * 2),
        ("Kill switch set: exits only", "kill_switch.changed", "",
         [event(connection=None, username=None, payload={"change": "set", "mode": "REDUCING"})]),
        ("target 2 taken on 2 accounts", "order.filled", "tp-2",
         [event(connection_id=number) for number in (1, 2, 2)]),
        (None, "order.filled", "sl", [event()] * 2),
        ("a part closed on 1 accounts", "order.filled", "close",
         [event(is_open=True), event()]),
        ("2 closed, stop loss: 0 won, 1 lost", "position.closed", "sl",
         [event(payload={"pnl": "-5.1"}), event(payload={"pnl": "0"})]),
        ("2 denied by our rules: The order needs more margin than the account has free. (MARGIN)",
         "order.denied", "MARGIN", [event()] * 2),
        ("2 connections in error: no answer", "connection.error", "no answer", [event()] * 2),
        ("anna's Main: in error: no answer", "connection.error", "no answer", [event()]),
        ("drift found, 2 times", "drift.found", "", [event()] * 2),
    ],
)  # fmt: skip
def test_line_describes_a_group_of_events(
    text: str | None, kind: str, detail: str, events: list[SimpleNamespace]
) -> None:
    assert line(kind, detail, *events) == text


@pytest.mark.django_db
def test_line_names_its_signal() -> None:
    owner = User.objects.create_user("owner")
    feed = Feed.objects.create(slug="f", name="F", owner=owner)
    signal = Signal.objects.create(feed=feed, currency_pair="EUR/USD", direction="BUY")
    message = MessageFormatter(lambda at: at).line(
        Group(LOST, signal.pk, "REPLY_LOST", [event(), event()])
    )
    assert message is not None
    assert message.text.startswith(f"S-{signal.pk} Buy EUR/USD market · 2 without a reply")


def test_scenario_is_in_order_and_every_alert_is_valid() -> None:
    steps = read_scenario()
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert steps[0].at > stack_options.START_TIME
    for step in steps:
        if step.alert and 400 not in step.expect:
            read_signal(step.alert)


def test_invalid_file_of_alerts_is_named(tmp_path: Any) -> None:
    broken = tmp_path / "alerts.json"
    broken.write_text(ALERTS.read_text()[:-5])
    with pytest.raises(MisconfiguredError, match=r"alerts\.json: not a file of alerts"):
        read_scenario(broken)


def test_sentence_of_an_answer_is_its_first_error() -> None:
    step = read_scenario()[0]
    body = {"code": "X", "detail": "two faults", "errors": [{"detail": "the stop"}]}
    assert Answer(step, 400, body).sentence == "the stop"
    assert Answer(step, 500, {}).sentence == ""


@pytest.mark.django_db
def test_demo_pace_applies_only_to_the_demos_beat() -> None:
    scheduler = PacedScheduler(app, lazy=True)
    runs = {
        entry.task: entry.schedule.run_every.total_seconds()
        for entry in scheduler.all_as_schedule().values()
        if hasattr(entry.schedule, "run_every")
    }
    assert {task: runs[task] for task in stack_options.TASK_SECONDS} == dict(
        stack_options.TASK_SECONDS
    )
    assert runs["events.deliver"] == 2
    watch = PeriodicTask.objects.get(task="execution.watch_positions")
    assert watch.interval.every == 60


def test_next_entry_of_a_schedule_keeps_its_pace() -> None:
    model = PeriodicTask(
        name="w",
        task="execution.watch_positions",
        interval=IntervalSchedule(every=60, period="seconds"),
    )
    assert next(PacedEntry(model, app=app)).schedule.run_every.total_seconds() == 1


def test_only_beat_differs_from_the_usual_processes() -> None:
    env = Settings.read({"FILLCAST_SECRET_KEY": "x" * 32})
    usual = {child.name: child.command for child in all_processes(env)}
    demos = {child.name: child.command for child in stack_options.demo_processes(env)}
    assert {name for name in usual if usual[name] != demos[name]} == {"beat"}
    assert demos["beat"][: len(usual["beat"])] == usual["beat"]
