"""Rate limits of exchanges: each request has its cost, and exits go first."""

import asyncio

import pytest

from brokers.crypto.exchange_limits import CAREFUL, CHECKED, limits_of
from brokers.crypto.exchanges import rules
from brokers.crypto.guarded_call import GuardedCall
from brokers.crypto.priority_lock import PriorityLock
from brokers.crypto.rate_limits import AccountRateLimits, account_rate_limits, read_rate
from brokers.rate_limits import Priority, Rate, rate_limiter_for
from brokers.types import ConnectionSpec
from common.clocks import machine_time


class RecordingLimiter:
    """A rate limiter that records what is requested of it."""

    def __init__(self) -> None:
        self.requested: list[tuple[float, bool]] = []

    async def acquire(
        self,
        tokens: float = 1,
        *,
        priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None:
        self.requested.append((tokens, priority is Priority.EXIT))

    def back_off(self, seconds: float) -> None:
        self.requested.append((-seconds, False))


def cost_of(name: str, market: str, cost: float, call: GuardedCall | None) -> list[list[float]]:
    """What a request takes of the limits of the host, the account and its orders."""
    host, points, orders = RecordingLimiter(), RecordingLimiter(), RecordingLimiter()
    limits = limits_of(name, market)
    account_limits = AccountRateLimits(
        host, points if limits.points else None, orders, limits, RecordingLimiter()
    )
    asyncio.run(account_limits.admit(cost, call))
    return [[n for n, _ in limiter.requested] for limiter in (host, points, orders)]


ORDER = GuardedCall(lambda: None)
CANCEL = GuardedCall(lambda: None, is_repeatable=True, is_urgent=True)


@pytest.mark.parametrize(
    ("name", "market", "cost", "call", "expected"),
    [
        ("binance", "spot", 4.0, None, [[4.0], [], []]),  # a weight of 20, for the address
        ("binance", "spot", 0.2, ORDER, [[0.2], [], [1]]),
        ("binance", "swap", 4.0, ORDER, [[], [], [1]]),  # orders have no weight there
        ("binance", "swap", 1.0, CANCEL, [[1.0], [], []]),
        ("bybit", "swap", 5.0, None, [[1.0], [5.0], []]),
        ("bybit", "spot", 2.5, ORDER, [[1.0], [2.5], [1]]),
        ("okx", "spot", 1 / 3, CANCEL, [[1.0], [1 / 3], []]),
        ("kraken", "spot", 3.0, None, [[1.0], [3.0], []]),
        # Kraken's matching engine counts orders and cancels, not the key.
        ("kraken", "spot", 0.0, ORDER, [[1.0], [], [1]]),
        ("kraken", "spot", 0.0, CANCEL, [[1.0], [], [1]]),
        ("gate", "spot", 2.0, None, [[1.0], [2.0], []]),
    ],
)
def test_request_cost_depends_on_exchange_and_call(
    name: str, market: str, cost: float, call: GuardedCall | None, expected: list[list[float]]
) -> None:
    assert cost_of(name, market, cost, call) == expected


def test_entry_does_not_queue_behind_polls() -> None:
    rate = Rate(per_second=5.0, burst=5.0)
    host, orders = rate_limiter_for("entries and polls", rate), rate_limiter_for("entries", rate)
    reads = rate_limiter_for("polls", read_rate(rate))
    limits = AccountRateLimits(host, None, orders, limits_of("binance", "spot"), reads)

    async def entry_among_polls() -> None:
        polls = [asyncio.create_task(limits.admit(1.0, None)) for _ in range(500)]  # two minutes
        await polls[0]
        order = GuardedCall(lambda: None, send_by=machine_time() + 60.0)
        try:
            await limits.admit(1.0, order)  # NotSent RATE_LIMITED if its turn is later
            assert not all(poll.done() for poll in polls)
        finally:
            for poll in polls:
                poll.cancel()

    asyncio.run(entry_among_polls())


def spec_of(name: str, key: str = "key-1", **settings: object) -> ConnectionSpec:
    return ConnectionSpec("c", "main", name, settings, {"api_key": key})


def limits_for(name: str, key: str = "key-1", **settings: object) -> AccountRateLimits:
    return account_rate_limits(rules(name), spec_of(name, key, **settings))


def test_connections_with_one_key_share_rate_limits() -> None:
    one, two, other = (
        limits_for("bybit"),
        limits_for("bybit", market="swap"),
        limits_for("bybit", "key-2"),
    )
    assert (one.points is two.points, one.orders is two.orders, one.host is two.host) == (
        True, True, True,
    )  # fmt: skip
    assert (one.points is other.points, one.host is other.host) == (False, True)


def test_markets_and_sandboxes_have_separate_rate_limits() -> None:
    real = limits_for("binance")
    others = [
        limits_for("binance", market="swap"),
        limits_for("binance", sandbox=True),
        limits_for("okx"),
    ]
    assert all(other.host is not real.host for other in others)
    assert limits_of("gate", "spot") is CAREFUL
    assert ("kraken", "swap") not in CHECKED


def test_kraken_tier_sets_the_refill_rate() -> None:
    rates = []
    for tier in (None, 1.0):
        settings = {} if tier is None else {"points_per_second": tier}
        rate_limits = limits_for("kraken", f"tier {tier}", **settings)
        rates.append(rate_limits.points._bucket.rate.per_second)  # type: ignore[union-attr]
    assert rates == [0.99, 3.0]


@pytest.mark.parametrize(
    ("name", "whole_address", "backed_off"),
    [
        ("okx", True, ["host", "orders"]),
        ("okx", False, ["points", "orders"]),
        ("binance", False, ["orders"]),  # it has no points per account
    ],
)
def test_backoff_applies_to_account_or_address(
    name: str, whole_address: bool, backed_off: list[str]
) -> None:
    limiters = {kind: RecordingLimiter() for kind in ("host", "points", "orders")}
    limits = limits_of(name, "spot")
    points = limiters["points"] if limits.points else None
    rate_limits = AccountRateLimits(
        limiters["host"], points, limiters["orders"], limits, RecordingLimiter()
    )
    rate_limits.back_off(7, whole_address=whole_address)
    assert [
        kind for kind, limiter in limiters.items() if limiter.requested == [(-7, False)]
    ] == backed_off


@pytest.mark.parametrize("name", ["binance", "bybit", "okx", "kraken", "another"])
def test_first_connection_does_not_wait_and_many_do(name: str) -> None:
    limits = limits_of(name, "spot")

    async def connect(count: int, seconds: float) -> tuple[int, float]:
        """Return how many were admitted, and in how many seconds."""
        limiter = rate_limiter_for(f"connects {name} {count}", limits.connects)
        host = RecordingLimiter()
        account_limits = AccountRateLimits(host, None, host, limits, host, limiter)
        began = machine_time()
        tasks = [asyncio.create_task(account_limits.admit_connection()) for _ in range(count)]
        done, waiting = await asyncio.wait(tasks, timeout=seconds)
        for task in waiting:
            task.cancel()
        return len(done), machine_time() - began

    assert asyncio.run(connect(1, 120.0))[0] == 1
    admitted, took = asyncio.run(connect(100, 0.5))
    assert admitted <= limits.connects.burst + limits.connects.per_second * took + 1


def test_pause_of_the_address_is_one_of_connections() -> None:
    host, connects = RecordingLimiter(), RecordingLimiter()
    limits = limits_of("binance", "spot")
    account_limits = AccountRateLimits(host, None, RecordingLimiter(), limits, host, connects)
    account_limits.back_off(7, whole_address=False)
    assert connects.requested == []
    account_limits.back_off(7, whole_address=True)
    assert connects.requested == [(-7, False)]


def test_exit_is_sent_while_reads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new limiter starts with its reserve, which is for exits and cancels."""
    monkeypatch.setattr("brokers.crypto.rate_limits.READ_WAIT_SECONDS", 10_000)
    rate = Rate(per_second=0.001, burst=8.0)  # the next in a thousand seconds
    unlimited = Rate(per_second=1000.0, burst=1000.0)
    host, points, orders = (
        rate_limiter_for(f"exits first {name}", rate_of)
        for name, rate_of in (("host", unlimited), ("points", rate), ("orders", unlimited))
    )
    reads = rate_limiter_for("exits first reads", unlimited)
    rate_limits = AccountRateLimits(host, points, orders, limits_of("okx", "spot"), reads)

    async def together() -> None:
        read = asyncio.create_task(rate_limits.admit(1.0, None))
        await rate_limits.admit(
            1.0, GuardedCall(lambda: None, is_urgent=True, send_by=machine_time() + 500)
        )
        assert not read.done()
        read.cancel()

    asyncio.run(together())


def test_priority_lock_admits_one_at_a_time_and_urgent_first() -> None:
    lock = PriorityLock()
    done: list[str] = []

    async def take(name: str, *, urgent: bool = False) -> None:
        async with lock.taken(urgent=urgent):
            done.append(name)

    async def together() -> None:
        async with lock.taken(urgent=False):
            tasks = [asyncio.create_task(take(name)) for name in ("a", "gone", "b")]
            tasks.append(asyncio.create_task(take("exit", urgent=True)))
            await asyncio.sleep(0)  # all of them wait
            tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await take("last")

    asyncio.run(together())
    assert done == ["exit", "a", "b", "last"]


def test_priority_lock_passes_on_from_cancelled_waiter() -> None:
    lock = PriorityLock()
    done: list[str] = []

    async def together() -> None:
        async with lock.taken(urgent=False):
            waiter = asyncio.create_task(lock.taken(urgent=False).__aenter__())
            await asyncio.sleep(0)
        waiter.cancel()  # it holds the lock and has not run since
        await asyncio.gather(waiter, return_exceptions=True)
        async with lock.taken(urgent=False):
            done.append("other")

    asyncio.run(asyncio.wait_for(together(), 60))
    assert done == ["other"]
