"""Whatever goes wrong at random: each order ends as the broker's journal says, and never twice."""

import random
import time
from collections import Counter
from typing import Any

import pytest

from brokers.base import BrokerError, NotSent, ReadFailed, Rejected
from brokers.dwx.parse import magic_of
from brokers.types import OrderRequest
from tests.dwx.factories import Owner
from tests.fakes.dwx.terminal import until

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
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1])
def test_each_order_ends_as_the_journal_says(owner: Owner, seed: int) -> None:
    chance = random.Random(seed)
    owner.change_settings(**TIMES)
    ended: dict[str, bool | None] = {}
    for _ in range(14):
        owner.terminal.fault(**chance.choice(FAULTS))
        if chance.random() < 0.15:
            owner.terminal.kill()
            owner.terminal.start()
        request = owner.order("1000")
        try:
            owner.submit(request)
            ended[request.client_order_id] = True
        except (NotSent, Rejected):
            ended[request.client_order_id] = False
        except BrokerError:
            ended[request.client_order_id] = None
        if chance.random() < 0.2:
            owner.restart()
    owner.terminal.fault()
    owner.restore_timeouts()
    for client_order_id in [one for one, was in ended.items() if was is None]:
        ended[client_order_id] = settled(owner, client_order_id)
    magics = Counter(one["magic"] for one in owner.terminal.journal())
    assert max(magics.values(), default=0) <= 1
    assert {one: magic_of(one) in magics for one in ended} == ended


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1])
def test_each_exit_closes_once_or_not_at_all(owner: Owner, seed: int) -> None:
    chance = random.Random(seed)
    owner.change_settings(**TIMES)
    for _ in range(8):
        owner.terminal.fault()
        position = owner.buy().broker_position_id
        before = len(owner.terminal.journal("close"))
        request = owner.exit(position, chance.choice(["10000", "4000"]))
        owner.terminal.fault(**chance.choice([*FAULTS, {"stopped_first": "[sl]"}]))
        closed: bool | None = None
        try:
            closed = bool(owner.submit(request))
        except (NotSent, Rejected):
            closed = False
        except BrokerError:
            closed = None
        if chance.random() < 0.3:
            owner.restart()
        stopped = owner.terminal.journal("close")[before:]
        owner.terminal.fault()
        if closed is None and chance.random() < 0.5:
            closed = sent_again(owner, request)
        if closed is None:
            closed = settled(owner, request.client_order_id)
        made = owner.terminal.journal("close")[before:]
        ours = [one for one in made if "[sl]" not in one["comment"]]
        assert len(ours) == closed, (stopped, made)
        assert {one["lots"] for one in ours} <= {float(request.quantity) / 100_000}


def sent_again(owner: Owner, request: OrderRequest) -> bool | None:
    """As after a proof of absence that came too early: under the same id."""
    answers: list[bool | None] = []

    def has_left() -> bool:
        try:
            answers.append(bool(owner.submit(request)))
        except Rejected:
            answers.append(False)
        except NotSent:
            return False
        except BrokerError:
            answers.append(None)
        return True

    until(has_left, 20)
    return answers[-1]


def settled(owner: Owner, client_order_id: str) -> bool:
    """Ask until it is known whether the broker has it; prices move meanwhile."""
    answers: list[bool] = []

    def is_known() -> bool:
        bid = 1 + (time.time() % 1000) / 1e5
        owner.terminal.simulate("price", symbol="EURUSD", bid=bid, ask=bid)
        try:
            answers.append(owner.find(client_order_id) is not None)
        except ReadFailed:
            return False
        return True

    until(is_known, 20)
    return answers[-1]
