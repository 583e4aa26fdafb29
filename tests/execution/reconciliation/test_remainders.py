"""A balance that shrank: part of the position is left, or it is gone."""

from decimal import Decimal as D
from uuid import UUID

import pytest

from brokers.types import BrokerPosition, Side
from common.clocks import market_now
from common.reason_codes import Code
from connections.models import ExecutionConnection, Instrument
from execution.models import Order
from execution.reconciliation.compare_positions import (
    OurPosition,
    UnsellableRemainder,
    compare_positions,
)
from execution.reconciliation.reconcile import reconcile
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_dust, close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.factories import drift_items
from tests.execution.fake_broker import FakeBroker

DIFFERS, UNKNOWN = Code.QUANTITY_DIFFERS, Code.UNKNOWN_POSITION


def position(quantity: str) -> OurPosition:
    now = market_now()
    return OurPosition(
        id=1, connection_id=UUID(int=1), symbol="EURUSD", side="BUY", quantity=D(quantity),
        entry_price=D("1.1"), pip=D("0.0001"), tick=D("0.00001"), broker_position_id="EURUSD",
        broker_sl=None, broker_tp=None, opened_at=now, last_activity_at=now, missing_since=None,
        levels_are_changing=True, has_unsent_levels=False, sl=None, tp=None,
        levels_reported_at=None, levels_given_up=False, sl_is_expected=False,
        tp_is_expected=False, is_shared=True, client_order_id="", entry_sent_as="",
        in_flight=False,
    )  # fmt: skip


def balance(quantity: str) -> BrokerPosition:
    return BrokerPosition("EURUSD", "EURUSD", Side.BUY, D(quantity), D(0))


@pytest.mark.parametrize(
    ("held", "left", "dust", "least", "expected"),
    [
        # The owner sold a part; the dust of earlier trades may have been converted since.
        pytest.param("0.9", "0.5", "0.95", "0.1", DIFFERS, id="part sold, much dust booked"),
        pytest.param("0.9", "0.5", "0", "0.1", DIFFERS, id="part sold, no dust booked"),
        pytest.param("0.9", "0.1", "0.95", "0.1", DIFFERS, id="one step left, can be sold"),
        pytest.param("0.9", "0.5", "0.95", "0.6", DIFFERS, id="part sold, minimum raised"),
        pytest.param("0.9", "0.2", "0.95", "0.6", DIFFERS, id="two steps left, minimum raised"),
        # All was sold: what is left is dust.
        pytest.param("0.9", "0.1", "0", "0.6", "gone", id="one step left, below the minimum"),
        pytest.param("0.9", "0.04", "0", "0.1", "gone", id="part of a step left"),
        pytest.param("0.9", "0.04", "0.95", "0.1", "gone", id="part of a step, dust booked"),
        pytest.param("90", "0.8", "0", "0.9", "gone", id="below a hundredth and the minimum"),
        # Nothing was sold, or so little that fees explain it.
        pytest.param("0.9", "0.9", "0.95", "0.1", "same", id="nothing sold"),
        pytest.param("0.95", "0.9", "0", "0.1", "same", id="whole steps are read"),
        pytest.param("0.9", "0.9", "0.95", "9", "same", id="nothing sold, minimum raised"),
        # The balance has more: dust of earlier trades explains the excess.
        pytest.param("0.9", "1.9", "0.95", "0.1", "same", id="dust is still there"),
        pytest.param("0.9", "2", "0.95", "0.1", DIFFERS, id="more than dust"),
        pytest.param("0.04", "0.15", "0", "0.2", DIFFERS, id="more than a small position"),
        # No position is affected.
        pytest.param(None, "1", "0.95", "0.1", "same", id="dust alone"),
        pytest.param(None, "1.1", "0.95", "0.1", UNKNOWN, id="more than dust alone"),
        pytest.param(None, "1.1", "0", "2", "same", id="cannot be sold anyway"),
    ],
)
def test_position_is_gone_only_when_the_balance_is_unsellable(
    held: str | None, left: str, dust: str, least: str, expected: str
) -> None:
    ours = [] if held is None else [position(held)]
    rests = {"EURUSD": UnsellableRemainder(step=D("0.1"), dust=D(dust), minimum=D(least))}
    found = compare_positions("alice", ours, [balance(left)], market_now(), rests)
    kinds = [record.kind for record in found.records]
    assert (kinds, bool(found.gone)) == (
        [expected] if isinstance(expected, Code) else [], expected == "gone",
    )  # fmt: skip


@pytest.mark.usefixtures("inline_commits")
def test_remainder_after_the_owners_own_sale_stays_open(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    """Five trades have left 50 of dust, which the owner has converted. Of 100 they sell 60."""
    for number in range(5):
        past = factories.filled(factories.signal(feed))  # 100 in steps of 10
        close_position(past.pk, fraction=D("0.9"))
        factories.fill_all()
        Instrument.objects.update(close_min=D(20))
        assert close_dust() == 1
        broker.tickets[number].held = D(0)
    assert [one.filled_quantity for one in Order.objects.filter(leg="dust-1")] == [10] * 5
    position = factories.filled(factories.signal(feed))
    broker.tickets[-1].held = D(40)
    for _ in range(2):
        factories.pass_time(6)
        reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (100, "")
    assert drift_items() == [("QUANTITY_DIFFERS", "OPEN")]
    assert ExecutionPosition.objects.filter(quantity__gt=0).count() == 1
