"""Which accounts a process listens to, whatever fails on the way: its rows state what is so."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError

from brokers import registry
from brokers.account_capabilities import Capabilities
from brokers.types import ConnectionSpec
from common.clocks import market_now
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.models import AccountSyncState, WorkerLease
from execution.runtime import order_streams, stream_claims
from execution.runtime.order_streams import OrderStreams
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.trading_process import until

pytestmark = pytest.mark.usefixtures("inline_commits")
KIND = "watched"


class WatchedBroker(FakeBroker):
    """The fake broker, polled, with order streams that deliver until they are closed."""

    broker_type = KIND

    def reset(self) -> None:
        super().reset()
        self.event_stream = False
        self.opened: list[str] = []  # the accounts, one of each stream
        self.live: list[str] = []
        self.announces = True
        self.fails = 0  # how many of the next streams cannot be opened

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        if self.fails > 0 and spec.settings.get("fails"):
            self.fails -= 1
            raise ValueError(spec.settings)
        return replace(super().capabilities(spec), order_stream=self.announces)

    async def watch_orders(self, spec: ConnectionSpec) -> AsyncIterator[None]:
        self.opened.append(spec.account)
        self.live.append(spec.account)
        try:
            yield
            await self.hang()
        finally:
            self.live.remove(spec.account)


@cache
def create() -> WatchedBroker:
    return WatchedBroker()


@pytest.fixture
def broker() -> Iterator[WatchedBroker]:
    registry.BUILT_IN[KIND] = f"{__name__}:create"
    registry.clear_cache()
    order_streams.watched_broker_types.cache_clear()
    create().reset()
    yield create()
    del registry.BUILT_IN[KIND]
    registry.clear_cache()
    order_streams.watched_broker_types.cache_clear()


@pytest.fixture
def runtime(broker: WatchedBroker) -> Iterator[TradingRuntime]:
    """A process without jobs."""
    present = TradingRuntime("test")
    present.start()
    yield present
    present.stop()


@pytest.fixture
def streams(runtime: TradingRuntime, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderStreams]:
    """Its order streams: each `maintain` looks at everything."""
    monkeypatch.setattr(order_streams, "SECONDS", 0.0)
    monkeypatch.setattr(order_streams, "CHECK_SECONDS", 0.0)
    made = OrderStreams(runtime)
    yield made
    made.close()
    assert made.wait_ended(20.0)


@pytest.fixture
def feed(db: None) -> Feed:
    factories.instrument()
    return make.feed()


def accounts_with_orders(feed: Feed, count: int = 1) -> list[ExecutionConnection]:
    made = [factories.account(feed, type=KIND) for _ in range(count)]
    for one in made:
        AccountSyncState.objects.get_or_create(pk=one.pk)
    factories.signal(feed)
    factories.claim_all()
    return made


@pytest.fixture
def alice(broker: WatchedBroker, feed: Feed) -> ExecutionConnection:
    """An account with an order that is being sent."""
    [made] = accounts_with_orders(feed)
    return made


def state(row: ExecutionConnection) -> AccountSyncState:
    return AccountSyncState.objects.get(pk=row.pk)


def delivers(streams: OrderStreams, row: ExecutionConnection) -> Callable[[], bool]:
    def look() -> bool:
        streams.maintain()
        return state(row).stream_since is not None

    return look


def end_lease(runtime: TradingRuntime) -> None:
    """As of a process that was stopped for longer than its lease lasts."""
    WorkerLease.objects.filter(pk=runtime.id).update(lease_until=market_now() - timedelta(hours=1))


def test_account_that_is_claimed_again_has_one_stream(
    broker: WatchedBroker, alice: ExecutionConnection, streams: OrderStreams,
    runtime: TradingRuntime, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    until(delivers(streams, alice))
    monkeypatch.setattr(runtime, "_lease", -60.0)  # whatever renews it
    end_lease(runtime)

    def is_opened_again() -> bool:
        streams.maintain()
        return len(broker.opened) > 1

    until(is_opened_again)
    monkeypatch.undo()
    monkeypatch.setattr(order_streams, "SECONDS", 0.0)
    runtime.renew()
    until(delivers(streams, alice))
    until(lambda: broker.live == [alice.account])


def failing_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        stream_claims, "RELEASE", "SELECT 1 / 0 WHERE %s::uuid[] IS NOT NULL AND %s <> ''"
    )


@pytest.mark.django_db(transaction=True)
def test_account_whose_release_has_failed_is_released_later(
    broker: WatchedBroker, alice: ExecutionConnection, streams: OrderStreams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    until(delivers(streams, alice))
    with monkeypatch.context() as patch:
        failing_release(patch)
        patch.setattr(order_streams, "held_lanes", lambda: ("elsewhere.1",))
        with pytest.raises(DatabaseError):
            streams.maintain()
    assert (state(alice).stream_holder, state(alice).stream_since is None) == (
        streams._holder, False,
    )  # fmt: skip
    until(lambda: not broker.live)
    monkeypatch.setattr(order_streams, "MAX_STREAMS", 0)
    streams.maintain()
    assert (state(alice).stream_holder, state(alice).stream_since) == ("", None)
    monkeypatch.setattr(order_streams, "MAX_STREAMS", 250)
    until(delivers(streams, alice))
    assert broker.live == [alice.account]


def test_account_whose_claim_was_not_answered_is_listened_to(
    broker: WatchedBroker, alice: ExecutionConnection, streams: OrderStreams
) -> None:
    assert stream_claims.claim(streams._holder, (KIND,), 9)  # and the answer is lost
    until(delivers(streams, alice))
    assert broker.opened == [alice.account]


def test_stream_that_cannot_be_opened_again_is_tried_after_the_others(
    broker: WatchedBroker, feed: Feed, streams: OrderStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = accounts_with_orders(feed, 3)
    for one in made:
        until(delivers(streams, one))
    bad = next(iter(streams._held))
    for one in made:
        one.settings = {"fails": True} if one.pk == bad else {"new": True}
        one.save(update_fields=["settings"])
    broker.fails = 2
    assert len(broker.opened) == 3
    with pytest.raises(ValueError, match="fails"):
        streams.maintain()
    with pytest.raises(ValueError, match="fails"):
        streams.maintain()
    until(lambda: len(broker.opened) == 5)
    with monkeypatch.context() as patch:
        patch.setattr(order_streams, "CHECK_SECONDS", 60.0)
        streams.maintain()
    of_bad = AccountSyncState.objects.get(pk=bad)
    assert (of_bad.stream_since, of_bad.stream_error) == (None, "")  # it does not deliver now
    for one in made:
        until(delivers(streams, one))
    assert sorted(broker.live) == sorted(one.account for one in made)


def test_accounts_without_a_stream_leave_room_for_those_with_one(
    broker: WatchedBroker, feed: Feed, streams: OrderStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_streams, "MAX_STREAMS", 1)
    broker.announces = False
    accounts_with_orders(feed, 2)
    streams.maintain()
    streams.maintain()
    errors = AccountSyncState.objects.values_list("stream_error", flat=True)
    assert set(errors) == {order_streams.UNSUPPORTED}
    broker.announces = True
    [*_, other] = accounts_with_orders(feed)
    until(delivers(streams, other))
    accounts_with_orders(feed)
    for _ in range(3):
        streams.maintain()
    assert len(broker.opened) == 1


def test_no_stream_is_opened_once_the_process_ends(
    broker: WatchedBroker, feed: Feed, streams: OrderStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end comes while the job opens streams, and waits for all of them."""
    accounts_with_orders(feed, 3)
    opened: list[UUID] = []
    open_stream = streams._open

    def end_meanwhile(*arguments: Any) -> Any:
        held = open_stream(*arguments)
        opened.append(arguments[0].connection_id)
        streams.close()
        return held

    monkeypatch.setattr(streams, "_open", end_meanwhile)
    streams.maintain()
    assert len(opened) == 1
    assert streams.wait_ended(20.0)
    assert broker.live == []


def test_wait_for_the_end_bears_a_change_of_what_is_held(
    broker: WatchedBroker, feed: Feed, streams: OrderStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = accounts_with_orders(feed, 2)
    for one in made:
        until(delivers(streams, one))
    [first, _] = [held.stream for held in streams._held.values()]
    assert first is not None

    def change(seconds: float) -> bool:
        streams._leave(next(reversed(streams._held)))  # the job's thread, meanwhile
        return True

    monkeypatch.setattr(first, "wait_ended", change, raising=False)
    streams.close()
    assert streams.wait_ended(20.0)


@pytest.mark.parametrize(
    ("seconds", "is_since", "expected"), [(60, True, True), (-1, True, False), (60, False, False)]
)
def test_stream_of_a_dead_process_does_not_deliver(
    broker: WatchedBroker, feed: Feed, seconds: int, *, is_since: bool, expected: bool
) -> None:
    [row] = accounts_with_orders(feed)
    now = market_now()
    WorkerLease.objects.create(
        id="w", role="execution", host="h", pid=1, lease_until=now + timedelta(seconds=seconds)
    )
    AccountSyncState.objects.filter(pk=row.pk).update(
        stream_holder="w", stream_since=now if is_since else None
    )
    [found] = rows(
        f"SELECT {stream_claims.is_delivering_sql('r')} AS is_so FROM execution_accountsyncstate r"
    )
    assert found.is_so is expected
