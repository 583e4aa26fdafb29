"""Lanes: which one, who holds it, and that nobody else speaks for its accounts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import NotSent
from brokers.messages import Capabilities, ConnectionSpec
from brokers.registry import adapter_for
from common.clocks import machine_time
from common.codes import Code
from common.errors import InvalidInputError
from common.sql import rows, run
from connections import lanes as of_process
from connections import selectors, testing
from connections.lanes import lane_of
from connections.models import ConnectionHealth, ExecutionConnection, LaneLease, SessionLane
from connections.polling import refresh_due_accounts
from connections.probing import look_again
from execution.calls import sweeps
from execution.calls.lanes import Held, Lanes, Wanted, share_of
from execution.calls.polling import poll
from execution.calls.runtime import Runtime
from execution.drift.reconcile import reconcile_all, reconcile_new
from execution.exits import holdings
from execution.exits.wishes import grant_wishes
from execution.fan_out import lanes_of
from execution.models import Order, WorkerLease
from execution.reports.streams import drain_events
from execution.services import execute, look, tell_unheld
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.connections.conftest import elsewhere
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.test_errands import until

LEASE = float(settings.FILLCAST_LEASE_SECONDS)
IN_A_LANE = "sessions.3"
WAITS = "SELECT 1 FROM pg_locks WHERE NOT granted"


@pytest.fixture(autouse=True)
def general_again() -> Iterator[None]:
    """What this process holds is as before."""
    before = of_process._held
    yield
    of_process._held = before
    of_process.let_rest(())


def lanes(owner: str, *queues: str, lease: float = LEASE) -> Lanes:
    """A process for these queues, with a lease of its own."""
    WorkerLease.objects.update_or_create(
        id=owner,
        defaults={
            "role": "+".join(queues), "host": "h", "pid": 1,
            "lease_until": timezone.now() + timedelta(minutes=5),
        },
    )  # fmt: skip
    return Lanes(owner, Wanted.of(queues), lease)


def dead(*owners: str) -> None:
    """Their leases have run out."""
    long_ago = timezone.now() - timedelta(minutes=1)
    WorkerLease.objects.filter(id__in=owners).update(lease_until=long_ago)
    LaneLease.objects.filter(owner__in=owners).update(until=long_ago)


@pytest.fixture
def laned(alice: ExecutionConnection) -> ExecutionConnection:
    """Alice's account needs a session."""
    ExecutionConnection.objects.filter(pk=alice.pk).update(lane=IN_A_LANE)
    alice.refresh_from_db()
    return alice


# ---- which lane ----
def capabilities(**fields: Any) -> Capabilities:
    spec = ConnectionSpec(connection_id="", account="")
    return replace(adapter_for("paper").capabilities(spec), **fields)


@given(st.uuids(), st.integers(1, 256))
def test_the_same_connection_is_always_in_the_same_of_so_many_lanes(one: UUID, many: int) -> None:
    lane = lane_of(capabilities(session=True), one, many)
    assert lane == lane_of(capabilities(session=True), one, many)
    assert of_process.is_lane(lane)
    assert 0 <= int(lane.removeprefix("sessions.")) < many
    assert lane_of(capabilities(), one, many) == ""


@given(st.lists(st.uuids(), min_size=2, max_size=5, unique=True))
def test_who_shares_a_folder_shares_the_lane(ids: list[UUID]) -> None:
    one_folder = capabilities(session=True, session_key="mt4 terminal-1")
    assert len({lane_of(one_folder, one, 8) for one in ids}) == 1


def test_a_connection_beside_its_terminal_has_that_workers_lane() -> None:
    assert lane_of(capabilities(session=True, lane="mt5.main"), uuid4(), 8) == "mt5.main"
    with pytest.raises(InvalidInputError):
        lane_of(capabilities(session=True, lane="mt5.a b"), uuid4(), 8)


@pytest.mark.django_db
def test_the_row_has_its_lane_from_when_it_is_made_and_when_its_settings_change() -> None:
    paper, ibkr = make.connection(type="paper"), make.connection(type="ibkr")
    assert (paper.lane, ibkr.lane) == ("", of_process.nth(str(ibkr.pk), 8))
    mt4 = [make.connection(type="mt4", settings={"folder": "one"}) for _ in range(3)]
    assert len({one.lane for one in mt4}) == 1
    mt5 = make.connection(type="mt5", settings={"terminal": "London"})
    assert mt5.lane == "mt5.london"
    mt5.settings = {}
    mt5.save(update_fields=["settings"])
    assert ExecutionConnection.objects.get(pk=mt5.pk).lane == "mt5.main"


@pytest.mark.django_db
def test_who_shares_a_folder_shares_the_lane_whatever_the_number_of_lanes_becomes(
    settings: Any,
) -> None:
    def connect(folder: str) -> ExecutionConnection:
        return make.connection(type="mt4", settings={"folder": folder})

    folders = [f"folder-{n}" for n in range(8)]
    first = {folder: connect(folder) for folder in folders}
    settings.FILLCAST_SESSION_LANES = 5
    assert [connect(folder.upper()).lane for folder in folders] == [
        first[folder].lane for folder in folders
    ]
    for folder in folders:
        first[folder].save(update_fields=["settings"])
        assert ExecutionConnection.objects.get(pk=first[folder].pk).lane == first[folder].lane
    moved = first[folders[0]]
    moved.settings = {"folder": folders[1]}
    moved.save()
    assert moved.lane == first[folders[1]].lane


@pytest.mark.django_db
def test_who_was_separated_from_the_others_of_its_folder_comes_back_to_them() -> None:
    """By the migration: FILLCAST_SESSION_LANES had been changed between them."""
    one, other, alone = (
        make.connection(type="mt4", settings={"folder": folder}) for folder in ("a", "A", "b")
    )
    SessionLane.objects.all().delete()
    ExecutionConnection.objects.filter(pk=other.pk).update(lane="sessions.77")
    migration = import_module("connections.migrations.0016_session_lanes")
    migration.settle(apps, None)
    found = {row.pk: row.lane for row in ExecutionConnection.objects.all()}
    assert found == {one.pk: one.lane, other.pk: one.lane, alone.pk: alone.lane}
    assert SessionLane.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_that_name_one_folder_at_once_are_in_one_lane(settings: Any) -> None:
    """By processes that were started with different numbers of lanes."""

    def connect() -> ExecutionConnection:
        return make.connection(type="mt4", settings={"folder": "one"})

    with ExitStack() as joined, transaction.atomic():
        first = connect()
        assert first.lane != "sessions.0"
        settings.FILLCAST_SESSION_LANES = 1
        second = joined.enter_context(elsewhere(connect))
        until(lambda: bool(rows(WAITS)))
    assert second[0].lane == first.lane


# ---- one owner at a time ----
@pytest.mark.django_db
def test_one_holds_it_at_a_time_and_the_next_only_when_the_lease_has_run_out(
    laned: ExecutionConnection,
) -> None:
    one, other = lanes("one", "sessions"), lanes("other", IN_A_LANE)
    dead("other")
    assert one.balance() == [IN_A_LANE]
    WorkerLease.objects.filter(id="other").update(lease_until=timezone.now() + timedelta(1))
    assert other.balance() == []
    assert (one.held(), other.held()) == ((IN_A_LANE,), ())
    assert LaneLease.objects.get().fence == 1
    dead("one")
    assert other.balance() == [IN_A_LANE]
    assert LaneLease.objects.get().fence == 2
    one.renew()  # it finds its row gone
    assert one.held() == ()
    assert one.take_lost() == [IN_A_LANE]
    assert one.until(IN_A_LANE) < machine_time() < other.until(IN_A_LANE)
    assert LaneLease.objects.get().owner == "other"


@pytest.mark.django_db
def test_who_stood_still_does_not_believe_its_own_lease(
    laned: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lanes("one", "sessions")
    one.balance()
    later = machine_time() + LEASE + 0.001
    monkeypatch.setattr("execution.calls.lanes.machine_time", lambda: later)
    assert one.held() == ()  # though nobody has told it anything
    one.renew()  # nobody took it meanwhile: it is still its own
    assert one.held() == (IN_A_LANE,)


@pytest.mark.django_db
def test_a_lane_taken_anew_while_its_lease_is_prolonged_stays_ours(
    laned: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lanes("one", "sessions")
    one.balance()

    def now() -> float:  # asked between the look at the fences and the UPDATE
        monkeypatch.undo()
        one.give_back([IN_A_LANE])
        assert one.balance() == [IN_A_LANE]
        return machine_time()

    monkeypatch.setattr("execution.calls.lanes.machine_time", now)
    one.renew()
    assert (one.held(), one.take_lost()) == ((IN_A_LANE,), [])


@pytest.mark.django_db
def test_a_lane_taken_while_the_process_ends_is_given_back(
    laned: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lanes("one", "sessions")

    def now() -> float:  # asked right before a lane is taken
        monkeypatch.undo()
        one.leave_all()
        return machine_time()

    monkeypatch.setattr("execution.calls.lanes.machine_time", now)
    assert one.balance() == []
    assert (one.held(), one.leaving) == ((), [IN_A_LANE])
    one.give_back(one.leaving)
    assert one.balance() == []
    assert LaneLease.objects.get().owner == ""


@pytest.mark.django_db(transaction=True)
def test_of_many_who_reach_for_a_free_lane_one_gets_it(laned: ExecutionConnection) -> None:
    all_of_them = [lanes(f"p{n}", IN_A_LANE) for n in range(8)]
    taken: list[str] = []
    start = threading.Barrier(len(all_of_them))

    def reach(one: Lanes) -> None:
        from django.db import connection

        start.wait(10)
        taken.extend(one.balance())
        connection.close()

    threads = [threading.Thread(target=reach, args=(one,)) for one in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert taken == [IN_A_LANE]
    assert sum(one.held() == (IN_A_LANE,) for one in all_of_them) == 1


@pytest.mark.django_db
def test_whoever_takes_a_lane_has_its_accounts_compared_anew(laned: ExecutionConnection) -> None:
    health = ConnectionHealth.objects.filter(connection=laned)
    assert health.get().reconciled_at is not None
    lanes("one", "sessions").balance()
    assert health.get().reconciled_at is None
    assert not laned.can_execute_trades()


@given(st.integers(0, 60), st.integers(1, 20))
def test_shares_are_fair_and_cover_everything(many: int, workers: int) -> None:
    assert share_of(many, workers) * workers >= many
    assert share_of(many, workers) * workers < many + workers


@pytest.mark.django_db
def test_lanes_are_shared_and_given_up_when_another_comes(feed: Feed) -> None:
    for n in range(6):
        one = cast.account(feed)
        ExecutionConnection.objects.filter(pk=one.pk).update(lane=f"sessions.{n}")
    told: list[tuple[str, bool]] = []
    first = lanes("first", "sessions")
    first._on_change = lambda lane, is_ours: told.append((lane, is_ours))
    assert len(first.balance()) == 6
    second = lanes("second", "sessions")
    assert second.balance() == []
    first.balance()
    assert first.leaving == ["sessions.3", "sessions.4", "sessions.5"]
    assert first.held() == ("sessions.0", "sessions.1", "sessions.2")  # nothing new in the others
    assert first.until("sessions.4") > machine_time()  # what is in hand may still leave
    assert second.balance() == []
    first.give_back(first.leaving)
    assert second.balance() == ["sessions.3", "sessions.4", "sessions.5"]
    assert told[-3:] == [("sessions.3", False), ("sessions.4", False), ("sessions.5", False)]
    named = lanes("named", "sessions.0")  # whoever names a lane gets it
    first.balance()
    assert first.leaving == ["sessions.0"]
    first.give_back(first.leaving)
    assert named.balance() == ["sessions.0"]
    assert first.balance() == []


def test_queues_say_what_a_process_is_for() -> None:
    assert Wanted.of(["exits", "maintenance"]) == Wanted(True, False, frozenset())
    assert Wanted.of(["sessions"]) == Wanted(False, True, frozenset())
    assert Wanted.of(["mt5.main"]) == Wanted(False, False, frozenset({"mt5.main"}))
    assert Wanted.of(["execution", "sessions"]).general


# ---- nobody else speaks for its accounts ----
ROUNDS: dict[str, Callable[[], object]] = {
    "look": lambda: look(500),
    "look for exits": lambda: look(500, exits_only=True),
    "wishes": grant_wishes,
    "holdings": holdings.look,
    "poll": poll,
    "compare": reconcile_all,
    "compare new": reconcile_new,
    "look again": look_again,
    "accounts": lambda: refresh_due_accounts(older_than_seconds=0),
    "events": drain_events,
}


@pytest.fixture
def busy(laned: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double) -> Order:
    """In her lane something of every kind is due, and nobody has done it."""
    first = cast.signal(feed)
    of_process.use(lambda: (IN_A_LANE,))
    cast.fill_all()
    of_process.use(trading.lanes.held)
    position = ExecutionPosition.objects.get(signal=first)
    run(
        "UPDATE positions_executionposition SET ask_after = clock_timestamp(), sl_guardian ="
        " 'BROKER', broker_sl = 1.05, levels_due_at = NULL WHERE id = %s", (position.pk,)
    )  # fmt: skip
    cast.signal(feed, currency_pair="EUR/USD")  # PENDING
    rests = cast.order(signal=first)
    run(
        "UPDATE execution_order SET status = 'SUBMITTED', done_at = NULL, wish = 'CANCEL',"
        " lookup_after = clock_timestamp(), due_at = clock_timestamp() WHERE id = %s",
        (rests.pk,),
    )
    run("UPDATE connections_connectionhealth SET unreachable_at = clock_timestamp(),"
        " last_error_at = clock_timestamp() - interval '1 minute'")  # fmt: skip
    run("INSERT INTO execution_accountreading (connection_id, compare_asked_at)"
        " VALUES (%s, clock_timestamp()) ON CONFLICT (connection_id) DO UPDATE"
        " SET compare_asked_at = clock_timestamp()", (laned.pk,))  # fmt: skip
    run("UPDATE execution_order SET rung_at = clock_timestamp() - interval '1 minute',"
        " created_at = clock_timestamp() - interval '1 minute'")  # fmt: skip
    broker.event_stream = False  # so that it would be polled
    broker.calls.clear()
    return rests


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [*ROUNDS, "ask"])
def test_a_general_worker_never_asks_a_broker_about_an_account_of_a_lane(
    name: str, busy: Order, trading: Runtime, broker: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "accounts":
        run("UPDATE connections_connectionhealth SET unreachable_at = NULL")
    read = broker.account

    def account(spec: ConnectionSpec) -> Any:
        broker.calls.append(("account", spec.connection_id))
        return read(spec)

    monkeypatch.setattr(broker, "account", account)

    def go() -> None:
        if name == "ask":
            sweeps.ask_brokers(trading.wire)
        else:
            ROUNDS[name]()
        assert trading.wire.wait_idle(10)
        assert trading.flusher.drain(10)

    go()
    assert broker.calls == []
    assert not broker.tickets[1:]
    of_process.use(lambda: (IN_A_LANE,))
    trading.lanes._held[IN_A_LANE] = _held_for_long()
    go()
    if name not in ("events", "look for exits", "poll"):  # there it is done: the round is no sham
        assert broker.calls or broker.tickets[1:], name


def _held_for_long() -> Held:
    return Held(1, machine_time() + 60)


# ---- nothing leaves past the lease ----
@pytest.mark.django_db(transaction=True)
def test_an_order_whose_lane_was_lost_before_the_write_does_not_leave(
    laned: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    of_process.use(lambda: (IN_A_LANE,))
    trading.lanes._held[IN_A_LANE] = Held(1, machine_time() - 0.001)
    cast.signal(feed)
    execute(cast.pending())
    assert trading.wire.wait_idle(10)
    assert trading.flusher.drain(10)
    order = cast.order()
    assert (order.status, order.reason, broker.tickets) == ("PENDING", Code.LANE_LOST, [])
    trading.lanes._held[IN_A_LANE].until = machine_time() + 60
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    execute(cast.pending())
    assert trading.wire.wait_idle(10)
    assert trading.flusher.drain(10)
    assert (cast.order().status, len(broker.tickets)) == ("FILLED", 1)


@pytest.mark.django_db(transaction=True)
def test_a_cancel_and_a_moved_level_leave_no_later_than_the_lease(
    busy: Order, trading: Runtime, monkeypatch: pytest.MonkeyPatch, broker: Double
) -> None:
    of_process.use(lambda: (IN_A_LANE,))
    until = machine_time() + 0.5
    trading.lanes._held[IN_A_LANE] = Held(1, until)
    asked: list[float | None] = []

    async def note(spec: ConnectionSpec, request: Any) -> Any:
        asked.append(request.send_by)
        raise NotSent(Code.LANE_LOST)

    monkeypatch.setattr(broker, "cancel", note)
    monkeypatch.setattr(broker, "modify", note)
    grant_wishes()
    assert trading.wire.wait_idle(10)
    assert asked == [until, until]


# ---- nobody holds it ----
@pytest.mark.django_db(transaction=True)
def test_orders_say_that_nobody_holds_their_lane_and_end_when_they_are_too_old(
    laned: ExecutionConnection, feed: Feed, trading: Runtime, broker: Double
) -> None:
    opening = cast.signal(feed)
    of_process.use(lambda: (IN_A_LANE,))
    cast.fill_all()
    of_process.use(trading.lanes.held)
    broker.calls.clear()
    entry = cast.order(signal=cast.signal(feed))
    (closing,) = cast.pending()[:1]
    cast.close_signal(opening)
    run("UPDATE execution_order SET rung_at = clock_timestamp() - interval '1 minute'")
    assert tell_unheld() == 2
    waiting = {
        order.pk: (order.status, order.reason) for order in Order.objects.filter(done_at=None)
    }
    assert set(waiting.values()) == {("PENDING", Code.LANE_UNHELD)}
    run("UPDATE signals_signal SET published_at = published_at - interval '1 day'")
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    tell_unheld()
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("DENIED", Code.SIGNAL_TOO_OLD)
    exits = Order.objects.exclude(leg__startswith="entry")
    assert {o.status for o in exits} == {"PENDING"}  # a wish to close does not lapse
    assert broker.calls == []
    assert closing


@pytest.mark.django_db
def test_a_test_of_an_account_whose_lane_nobody_holds_says_what_to_start(
    laned: ExecutionConnection,
) -> None:
    (check,) = testing.run_test(laned.pk)
    assert check.result == "fail"
    assert "-Q sessions" in check.detail
    health = ConnectionHealth.objects.get(pk=laned.pk)
    assert health.last_test[0]["name"] == "worker"
    run("UPDATE connections_connectionhealth SET test_requested_at = clock_timestamp()")
    assert selectors.due_tests(10) == [laned.pk]  # told again, until somebody can make it
    other = cast.account(Feed.objects.get())
    run(
        "UPDATE connections_connectionhealth SET last_tested_at = NULL,"
        " test_requested_at = clock_timestamp() WHERE connection_id = %s",
        (other.pk,),
    )
    assert selectors.due_tests(1) == [other.pk]  # and in nobody's way
    run(
        "UPDATE connections_connectionhealth SET test_requested_at = NULL WHERE connection_id = %s",
        (other.pk,),
    )
    lanes("one", "sessions").balance()
    assert selectors.due_tests(10) == []
    of_process.use(lambda: (IN_A_LANE,))
    assert selectors.due_tests(10) == [laned.pk]
    assert "worker" not in {one.name for one in testing.run_test(laned.pk)}


# ---- bells ----
@pytest.mark.django_db
def test_the_bell_of_an_order_is_its_lanes_where_somebody_holds_it(
    laned: ExecutionConnection, feed: Feed
) -> None:
    cast.account(feed)
    cast.signal(feed)
    ours = cast.order(connection=laned).pk
    assert lanes_of(cast.pending()) == {}  # nobody would take the message
    lanes("one", "sessions").balance()
    assert lanes_of(cast.pending()) == {ours: IN_A_LANE}
