"""What counts an order counts its filled part, its unfilled rest or both: exactly, in each state.

All figures are computed by hand. The entry is 100 EUR/USD, expected at 1.1 with a stop at 1.09: an
unfilled unit is worth 1.1, binds a tenth of that and risks 0.01. It fills at 1.2, and so a unit of
the position is worth 1.2 and risks 0.11.
"""

from datetime import timedelta
from decimal import Decimal as D
from typing import NamedTuple

import pytest
from django.utils import timezone

from common.db.sql import rows, run
from connections.exposure import open_items
from connections.models import ExecutionConnection
from connections.services import HaltTarget
from execution.monitoring import broker_positions
from execution.monitoring.halt_actions import (
    closable_positions,
    halt_impact,
    live_entries,
)
from execution.reconciliation import open_positions
from execution.submission import claim_sql, signal_limits
from execution.submission.recent import RECENT, RecentRow
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.halfway import HALFWAY, entry

pytestmark = pytest.mark.django_db
ALL = HaltTarget("ALL")


class Account(NamedTuple):
    """What the limits of an account count. side: what it holds or may hold; ending with `-` if all
    of it is being closed. entering: what may be part of a netted position already."""

    positions: int = 0
    orders: int = 0
    notional: str = "0"
    margin: str = "0"
    risk: str = "0"
    net: str = "0"
    side: str = ""
    entering: str = "0"


class Flow(NamedTuple):
    """What was sent: in the last minute, on this day, for its signal; and whether it has a usual
    size, and a second entry of its feed and side would be the same trade."""

    minute: int = 0
    day: str = "0"
    volume: int = 0
    signal: str = "0"
    sized: int = 0
    same_trade: bool = False


class Halted(NamedTuple):
    """What a halt would touch. cancelled: entries, and with those that `flatten` reaches."""

    waiting: int = 0
    working: int = 0
    exits: int = 0
    held: str = "0"
    unfilled: str = "0"
    cancelled: tuple[int, int] = (0, 0)
    closable: int = 0


class Sums(NamedTuple):
    """open: of its position, and what of that live exits may fill. items: what is open. compared:
    what a comparison with the broker leaves aside, `entering` the symbol and `flying` the position.
    """

    account: Account
    flow: Flow
    halted: Halted
    open: tuple[int, int] = (0, 0)
    items: int = 0
    compared: str = ""


ENTERING, FLYING = "entering", "flying"
BOTH = f"{ENTERING} {FLYING}"
NOTHING = Account()
UNFILLED = Account(1, 1, "110", "11", "1", "110", "BUY")
# 40 × 1.2 + 60 × 1.1; 60 × 0.11; 40 × 0.11 + 60 × 0.01
HALF_FILLED = Account(1, 1, "114", "6.6", "5", "114", "BUY")
FORTY = Account(1, 0, "48", "0", "4.4", "48", "BUY")
FULL = Account(1, 0, "120", "0", "11", "120", "BUY")
EIGHTY = Account(1, 0, "96", "0", "8.8", "96", "BUY")
SENT = Flow(1, "110", 100, "110", 0, same_trade=True)
EXECUTED = SENT._replace(sized=1)
WORKS = Halted(0, 1, 0, "48", "66", (1, 1), 1)
OF_ALL = Halted(held="120", closable=1)

EXPECTED = {
    "PENDING": Sums(NOTHING, Flow(), Halted(1, cancelled=(1, 1))),
    "PENDING again": Sums(NOTHING, Flow(), Halted(1, cancelled=(1, 1))),
    "SUBMITTING": Sums(
        UNFILLED._replace(entering="100"),
        SENT,
        Halted(0, 1, unfilled="110", cancelled=(1, 1)),
        items=1,
        compared=ENTERING,
    ),
    "UNKNOWN": Sums(
        UNFILLED._replace(entering="100"),
        SENT,
        Halted(0, 1, unfilled="110", cancelled=(1, 1)),
        items=1,
        compared=ENTERING,
    ),
    "UNKNOWN, 40 filled": Sums(
        HALF_FILLED._replace(entering="60"),
        EXECUTED,
        WORKS,
        (40, 0),
        items=2,
        compared=BOTH,
    ),
    "SUBMITTED": Sums(
        UNFILLED, SENT, Halted(0, 1, unfilled="110", cancelled=(1, 1)), items=1, compared=ENTERING
    ),
    "PARTIALLY_FILLED": Sums(HALF_FILLED, EXECUTED, WORKS, (40, 0), items=2, compared=BOTH),
    "CANCEL_REQUESTED": Sums(
        UNFILLED,
        SENT,
        Halted(0, 1, unfilled="110", cancelled=(0, 1)),
        items=1,
        compared=ENTERING,
    ),
    "CANCEL_REQUESTED, 40 filled": Sums(
        HALF_FILLED,
        EXECUTED,
        WORKS._replace(cancelled=(0, 1)),
        (40, 0),
        items=2,
        compared=BOTH,
    ),
    "PARTIALLY_FILLED, cancel refused": Sums(
        HALF_FILLED,
        EXECUTED,
        WORKS._replace(cancelled=(0, 1)),
        (40, 0),
        items=2,
        compared=BOTH,
    ),
    "CANCELLED, 40 filled": Sums(
        FORTY,
        EXECUTED._replace(day="44", volume=40, signal="44"),
        Halted(held="48", closable=1),
        (40, 0),
        items=1,
    ),
    "EXPIRED, 40 filled, looked up": Sums(
        HALF_FILLED._replace(orders=0, entering="60"),
        EXECUTED,
        Halted(held="48", cancelled=(0, 1), closable=1),
        (40, 0),
        items=2,
        compared=BOTH,
    ),
    "REJECTED": Sums(NOTHING, Flow(1), Halted()),
    "FILLED": Sums(FULL, EXECUTED, OF_ALL, (100, 0), items=1),
    "FILLED, exit PENDING": Sums(FULL, EXECUTED, OF_ALL._replace(exits=1), (100, 50), items=1),
    "FILLED, exit SUBMITTING": Sums(
        FULL, EXECUTED, OF_ALL._replace(exits=1), (100, 50), items=2, compared=FLYING
    ),
    "FILLED, exit of all SUBMITTING": Sums(
        FULL._replace(side="BUY-"),
        EXECUTED,
        OF_ALL._replace(exits=1, closable=0),
        (100, 100),
        items=2,
        compared=FLYING,
    ),
    "FILLED, exit filled 20 of 50": Sums(
        EIGHTY,
        EXECUTED,
        Halted(exits=1, held="96", closable=1),
        (80, 30),
        items=2,
        compared=FLYING,
    ),
    "FILLED, exit ended with 20 of 50": Sums(
        EIGHTY, EXECUTED, Halted(held="96", closable=1), (80, 0), items=1
    ),
    "FILLED, half closed": Sums(
        Account(1, 0, "60", "0", "5.5", "60", "BUY"),
        EXECUTED,
        Halted(held="60", closable=1),
        (50, 0),
        items=1,
    ),
    "PARTIALLY_FILLED, exit SUBMITTING": Sums(
        HALF_FILLED,
        EXECUTED,
        WORKS._replace(exits=1),
        (40, 20),
        items=3,
        compared=BOTH,
    ),
    "FILLED, closed": Sums(NOTHING, EXECUTED, Halted()),
}


def plain(amount: D) -> str:
    return f"{amount.normalize():f}"


def account_sums(account: ExecutionConnection) -> Account:
    of = {"connections": [account.pk]}
    found = rows(claim_sql.EXPOSURE, {**of, "unanswered": 5, "pairs": ["EUR/USD"]})
    sides = rows(claim_sql.OPEN_SIDES, {**of, "netting": [account.pk]})
    entering = rows(broker_positions.ENTERING, {"ids": [account.pk]})
    nets = recent_row(account)
    assert nets.net_quote == -nets.net_base
    sums = Account()
    for of_pair in found:  # one at most
        amounts = (of_pair.notional, of_pair.margin, of_pair.risk)
        sums = Account(of_pair.positions, of_pair.orders, *map(plain, amounts))
    return sums._replace(
        net=plain(nets.net_base),
        side=" ".join(f"{one.side}{'-' * one.is_closing}" for one in sides),
        entering=plain(sum((one.quantity for one in entering), D(0))),
    )


def recent_row(account: ExecutionConnection) -> RecentRow:
    of = entry()
    assert of.signal is not None
    asked = (
        of.pk, account.pk, "EUR/USD", "BUY", of.signal.feed_id,
        timezone.now() - timedelta(hours=1), True, True, True, 600.0,
    )  # fmt: skip
    [row] = rows(RECENT, [[value] for value in asked])
    return row


def flow_sums(account: ExecutionConnection) -> Flow:
    row = recent_row(account)
    sent = rows(signal_limits.SENT, ([entry().signal_id],))
    return Flow(
        row.sent_in_minute, plain(row.day_notional), int(row.day_volume),
        plain(sum((one.notional for one in sent), D(0))), len(row.last_quantities or ()),
        row.same_trade_age is not None,
    )  # fmt: skip


def amount(sums: dict[str, D]) -> str:
    return plain(sums.get("USD", D(0)))


def halted_sums() -> Halted:
    impact = halt_impact(ALL)
    cancelled = live_entries(ALL).count(), live_entries(ALL, closes=True).count()
    return Halted(
        impact.waiting, impact.working, impact.exits, amount(impact.open_amounts),
        amount(impact.working_amounts), cancelled, closable_positions(ALL).count(),
    )  # fmt: skip


def found_sums(account: ExecutionConnection) -> Sums:
    position = ExecutionPosition.objects.first()
    held = (int(position.quantity), int(position.reserved)) if position else (0, 0)
    return Sums(
        account_sums(account), flow_sums(account), halted_sums(), held, len(open_items(account.pk)),
        compared(account),
    )  # fmt: skip


def compared(account: ExecutionConnection) -> str:
    entering = rows(open_positions.ENTERING, {"ids": [account.pk]})
    ours = rows(open_positions.OURS, {"connections": [account.pk], "before": []})
    flying = any(position.in_flight for position in ours)
    return " ".join([ENTERING] * bool(entering) + [FLYING] * flying)


@pytest.mark.parametrize("state", HALFWAY)
def test_sums_count_each_part_of_an_order_once(feed: Feed, broker: FakeBroker, state: str) -> None:
    account = factories.account(feed, snapshot_leverage=D(10), snapshot_position_mode="HEDGING")
    HALFWAY[state](feed)
    run("UPDATE connections_accountsnapshot SET position_mode = 'NETTING'")
    found, expected = found_sums(account), EXPECTED[state]
    for name, was, wanted in zip(Sums._fields, found, expected, strict=True):
        assert was == wanted, f"{state}: {name} is {was}, expected {wanted}"
