"""What an exchange lets through: each request counts by its cost, exits go first, in turn."""

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


class Taken:
    """A budget that writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, bool]] = []

    async def acquire(
        self, n: float = 1, *, priority: Priority = Priority.ENTRY, deadline: float | None = None
    ) -> None:
        self.asked.append((n, priority is Priority.EXIT))

    def back_off(self, seconds: float) -> None:
        self.asked.append((-seconds, False))


def admitted(name: str, market: str, cost: float, flight: GuardedCall | None) -> list[list[float]]:
    """What a request takes of the host's, the account's and the orders' budgets."""
    host, points, orders = Taken(), Taken(), Taken()
    limits = limits_of(name, market)
    made = AccountRateLimits(host, points if limits.points else None, orders, limits, Taken())
    asyncio.run(made.admit(cost, flight))
    return [[n for n, _ in one.asked] for one in (host, points, orders)]


ORDER = GuardedCall(lambda: None)
CANCEL = GuardedCall(lambda: None, again=True, urgent=True)


@pytest.mark.parametrize(
    ("name", "market", "cost", "flight", "taken"),
    [
        ("binance", "spot", 4.0, None, [[4.0], [], []]),  # a weight of 20, of the address
        ("binance", "spot", 0.2, ORDER, [[0.2], [], [1]]),
        ("binance", "swap", 4.0, ORDER, [[], [], [1]]),  # orders weigh nothing there
        ("binance", "swap", 1.0, CANCEL, [[1.0], [], []]),
        ("bybit", "swap", 5.0, None, [[1.0], [5.0], []]),
        ("bybit", "spot", 2.5, ORDER, [[1.0], [2.5], [1]]),
        ("okx", "spot", 1 / 3, CANCEL, [[1.0], [1 / 3], []]),
        ("kraken", "spot", 3.0, None, [[1.0], [3.0], []]),
        ("kraken", "spot", 0.0, ORDER, [[1.0], [], [1]]),  # the engine counts, not the key
        ("kraken", "spot", 0.0, CANCEL, [[1.0], [], [1]]),  # and cancels too
        ("gate", "spot", 2.0, None, [[1.0], [2.0], []]),
    ],
)
def test_what_a_request_counts(
    name: str, market: str, cost: float, flight: GuardedCall | None, taken: list[list[float]]
) -> None:
    assert admitted(name, market, cost, flight) == taken


def test_an_entry_does_not_stand_behind_the_polls_of_all_accounts() -> None:
    rate = Rate(per_second=20.0, burst=20.0)
    host, orders = rate_limiter_for("entries and polls", rate), rate_limiter_for("entries", rate)
    reads = rate_limiter_for("polls", read_rate(rate))
    made = AccountRateLimits(host, None, orders, limits_of("binance", "spot"), reads)

    async def entry_among_polls() -> None:
        polls = [
            asyncio.create_task(made.admit(1.0, None)) for _ in range(200)
        ]  # 10 seconds' worth
        await polls[0]
        order = GuardedCall(lambda: None, until=machine_time() + 5.0)
        try:
            await made.admit(1.0, order)  # NotSent RATE_LIMITED where its turn is later
            assert not all(poll.done() for poll in polls)
        finally:
            for poll in polls:
                poll.cancel()

    asyncio.run(entry_among_polls())


def spec(name: str, key: str = "key-1", **settings: object) -> ConnectionSpec:
    return ConnectionSpec("c", "main", name, settings, {"api_key": key})


def made(name: str, key: str = "key-1", **settings: object) -> AccountRateLimits:
    return account_rate_limits(rules(name), spec(name, key, **settings))


def test_connections_with_one_key_share_what_its_account_may_ask() -> None:
    one, two, other = made("bybit"), made("bybit", market="swap"), made("bybit", "key-2")
    assert (one.points is two.points, one.orders is two.orders, one.host is two.host) == (
        True, True, True,
    )  # fmt: skip
    assert (one.points is other.points, one.host is other.host) == (False, True)


def test_markets_and_sandboxes_that_are_counted_apart_are() -> None:
    real = made("binance")
    others = [made("binance", market="swap"), made("binance", sandbox=True), made("okx")]
    assert all(one.host is not real.host for one in others)
    assert limits_of("gate", "spot") is CAREFUL
    assert ("kraken", "swap") not in CHECKED


def test_an_owners_tier_at_kraken_says_how_much_is_freed() -> None:
    rates = []
    for tier in (None, 1.0):
        said = {} if tier is None else {"points_per_second": tier}
        budgets = made("kraken", f"tier {tier}", **said)
        rates.append(budgets.points._bucket.rate.per_second)  # type: ignore[union-attr]
    assert rates == [0.99, 3.0]


@pytest.mark.parametrize(
    ("name", "everybody", "resting"),
    [
        ("okx", True, ["host", "orders"]),
        ("okx", False, ["points", "orders"]),
        ("binance", False, ["orders"]),  # it has no points of an account
    ],
)
def test_a_rest_is_the_accounts_or_the_addresss(
    name: str, everybody: bool, resting: list[str]
) -> None:
    all_of_it = {of: Taken() for of in ("host", "points", "orders")}
    limits = limits_of(name, "spot")
    points = all_of_it["points"] if limits.points else None
    budgets = AccountRateLimits(all_of_it["host"], points, all_of_it["orders"], limits, Taken())
    budgets.back_off(7, everybody=everybody)
    assert [of for of, one in all_of_it.items() if one.asked == [(-7, False)]] == resting


def test_an_exit_leaves_while_reads_wait() -> None:
    """A budget that nobody remembers begins with what is kept, which is for exits and cancels."""
    rate = Rate(per_second=0.1, burst=8.0)  # the next in ten seconds
    much = Rate(per_second=1000.0, burst=1000.0)
    host, points, orders = (
        rate_limiter_for(f"exits first {name}", one)
        for name, one in (("host", much), ("points", rate), ("orders", much))
    )
    reads = rate_limiter_for("exits first reads", much)
    budgets = AccountRateLimits(host, points, orders, limits_of("okx", "spot"), reads)

    async def together() -> None:
        read = asyncio.create_task(budgets.admit(1.0, None))
        await budgets.admit(1.0, GuardedCall(lambda: None, urgent=True, until=machine_time() + 5))
        assert not read.done()
        read.cancel()

    asyncio.run(together())


def test_one_at_a_time_and_what_is_urgent_first() -> None:
    turn = PriorityLock()
    done: list[str] = []

    async def take(name: str, *, urgent: bool = False) -> None:
        async with turn.taken(urgent=urgent):
            done.append(name)

    async def together() -> None:
        async with turn.taken(urgent=False):
            tasks = [asyncio.create_task(take(name)) for name in ("a", "gone", "b")]
            tasks.append(asyncio.create_task(take("exit", urgent=True)))
            await asyncio.sleep(0)  # all of them wait
            tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await take("last")

    asyncio.run(together())
    assert done == ["exit", "a", "b", "last"]


def test_a_turn_that_is_given_to_one_who_goes_away_is_passed_on() -> None:
    turn = PriorityLock()
    done: list[str] = []

    async def together() -> None:
        async with turn.taken(urgent=False):
            waits = asyncio.create_task(turn.taken(urgent=False).__aenter__())
            await asyncio.sleep(0)
        waits.cancel()  # it has been given the turn and has not run since
        await asyncio.gather(waits, return_exceptions=True)
        async with turn.taken(urgent=False):
            done.append("other")

    asyncio.run(asyncio.wait_for(together(), 5))
    assert done == ["other"]
