"""Random faults: each order ends as the broker's journal states, and is executed at most once."""

import random
import time
from collections import Counter
from typing import Any

import pytest

from brokers.base import BrokerError, NotSent, ReadFailed, Rejected
from brokers.dwx.parse import magic_of
from brokers.types import OrderRequest
from tests.dwx.factories import Account
from tests.until import until

FAULTS: list[dict[str, Any]] = [
    {},
    {"lose_messages": True},
    {"slow_trade": 0.2},
    {"slow_trade": 0.5, "lose_messages": True},
    {"error": "not enough money"},
    {"error": "not enough money", "lose_messages": True},
    {"error": "trade timeout"},
    {"error": "trade timeout", "late": 0.3},
    {"read_then_wait": 0.45},
    {"half": ["Orders", "Messages", "Historic_Trades"], "half_seconds": 0.05},
    {"ignore_commands": True},
    {"hang": True},
    {"rewrite_comment": ""},
]
TIMES = {"take_seconds": 0.3, "answer_seconds": 0.4, "stale_seconds": 0.7, "settle_seconds": 0.7}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_each_order_ends_as_journal_states(account: Account, seed: int) -> None:
    rng = random.Random(seed)
    account.change_settings(**TIMES)
    executed: dict[str, bool | None] = {}
    for _ in range(14):
        account.terminal.fault(**rng.choice(FAULTS))
        if rng.random() < 0.15:
            account.terminal.kill()
            account.terminal.start()
        request = account.order("1000")
        try:
            account.submit(request)
            executed[request.client_order_id] = True
        except (NotSent, Rejected):
            executed[request.client_order_id] = False
        except BrokerError:
            executed[request.client_order_id] = None
        if rng.random() < 0.2:
            account.restart()
    account.terminal.fault()
    account.restore_timeouts()
    for client_order_id in [one for one, outcome in executed.items() if outcome is None]:
        executed[client_order_id] = was_executed(account, client_order_id)
    magics = Counter(one["magic"] for one in account.terminal.journal())
    assert max(magics.values(), default=0) <= 1
    assert {one: magic_of(one) in magics for one in executed} == executed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_each_exit_closes_at_most_once(account: Account, seed: int) -> None:
    rng = random.Random(seed)
    account.change_settings(**TIMES)
    for _ in range(8):
        account.terminal.fault()
        position = account.buy().broker_position_id
        before = len(account.terminal.journal("close"))
        request = account.exit(position, rng.choice(["10000", "4000"]))
        account.terminal.fault(**rng.choice([*FAULTS, {"stopped_first": "[sl]"}]))
        closed: bool | None = None
        try:
            closed = bool(account.submit(request))
        except (NotSent, Rejected):
            closed = False
        except BrokerError:
            closed = None
        if rng.random() < 0.3:
            account.restart()
        first_closes = account.terminal.journal("close")[before:]
        account.terminal.fault()
        if closed is None and rng.random() < 0.5:
            closed = submit_again(account, request)
        if closed is None:
            closed = was_executed(account, request.client_order_id)
        closes = account.terminal.journal("close")[before:]
        ours = [one for one in closes if "[sl]" not in one["comment"]]
        assert len(ours) == closed, (first_closes, closes)
        assert {one["lots"] for one in ours} <= {float(request.quantity) / 100_000}


def submit_again(account: Account, request: OrderRequest) -> bool | None:
    """Send an order again under the same id, as after a false confirmation of its absence.

    Return whether it was executed, or None if that is unknown.
    """
    results: list[bool | None] = []

    def is_sent() -> bool:
        try:
            results.append(bool(account.submit(request)))
        except Rejected:
            results.append(False)
        except NotSent:
            return False
        except BrokerError:
            results.append(None)
        return True

    until(is_sent)
    return results[-1]


def was_executed(account: Account, client_order_id: str) -> bool:
    """Query an order until it is known whether it was executed; prices change meanwhile."""
    results: list[bool] = []

    def is_known() -> bool:
        bid = 1 + (time.time() % 1000) / 1e5
        account.terminal.simulate("price", symbol="EURUSD", bid=bid, ask=bid)
        try:
            results.append(account.find(client_order_id) is not None)
        except ReadFailed:
            return False
        return True

    until(is_known)
    return results[-1]
