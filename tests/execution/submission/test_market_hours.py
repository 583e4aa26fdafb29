"""`market_hours_only` with the hours of an instrument: open, closed, unknown; and exits."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from common.errors import ConflictError
from connections.models import Instrument
from execution.changes.order_changes import change_order
from execution.models import ExecutionLog, Order
from execution.services import close_position
from execution.submission.change_terms import WantedTerms
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_denials import seen
from tests.execution.submission.test_flow_limits import enter
from tests.execution.submission.test_market_limits import seen_with_detail

pytestmark = pytest.mark.django_db
DAY = 86_400


def hours(opens: int, closes: int, known: tuple[int, int] = (-DAY, DAY)) -> dict[str, Any]:
    """Return hours of an instrument. opens, closes, known: seconds from now."""
    now = int(market_now().timestamp())
    return {"known": [[now + n for n in known]], "open": [[now + opens, now + closes]]}


def trade_bitcoin(feed: Feed, **fields: Any) -> None:
    """Enter a coin: currencies have their own week, which may be over while the tests run."""
    account = factories.account(feed, **fields)
    factories.instrument("BTC/USD", quantity_min=1, quantity_step=1)
    factories.quote(account, "1.0999", "1.1", pair="BTC/USD")


BITCOIN: dict[str, Any] = {"currency_pair": "BTC/USD", "sl": None}


def intent() -> str:
    """Return the detail of the only order that is to be sent."""
    return ExecutionLog.objects.get(code="INTENT").detail


@pytest.mark.parametrize(
    ("opens", "closes", "denied"),
    [(-60, 60, False), (-3600, -1, True), (-3600, 60, False), (60, 3600, True)],
)
def test_entry_outside_of_the_hours_is_denied(
    feed: Feed, broker: FakeBroker, opens: int, closes: int, denied: bool
) -> None:
    trade_bitcoin(feed, preset_market_hours_only=True)
    began = market_now()
    Instrument.objects.filter(pair="BTC/USD").update(hours=hours(opens, closes))
    enter(feed, **BITCOIN)
    if not denied:
        assert seen() == ("SUBMITTING", "")
        return
    assert seen() == ("DENIED", "OUTSIDE_MARKET_HOURS")
    opening = (now + timedelta(seconds=opens) for now in (began, market_now()))
    until = [f" until {at:%a %Y-%m-%d %H:}" if opens > 0 else "" for at in opening]
    assert seen_with_detail()[2].startswith(tuple(f"BTC/USD: closed{text}" for text in until))


def test_without_the_limit_hours_do_not_count(feed: Feed, broker: FakeBroker) -> None:
    trade_bitcoin(feed)
    Instrument.objects.filter(pair="BTC/USD").update(hours=hours(60, 3600))
    enter(feed, **BITCOIN)
    assert seen() == ("SUBMITTING", "")


def test_unknown_hours_are_not_checked_and_the_order_says_so(
    feed: Feed, broker: FakeBroker
) -> None:
    trade_bitcoin(feed, preset_market_hours_only=True)
    Instrument.objects.filter(pair="BTC/USD").update(hours=hours(-DAY, -90, known=(-DAY, -60)))
    enter(feed, **BITCOIN)
    assert seen() == ("SUBMITTING", "")
    assert intent().endswith("; market hours of BTCUSD unknown today, not checked")


def test_market_without_hours_has_no_warning(feed: Feed, broker: FakeBroker) -> None:
    trade_bitcoin(feed, preset_market_hours_only=True)
    enter(feed, **BITCOIN)
    assert "market hours" not in intent()


def test_exit_is_sent_while_the_market_is_closed(feed: Feed, broker: FakeBroker) -> None:
    trade_bitcoin(feed, preset_market_hours_only=True)
    position = factories.filled(factories.signal(feed, **BITCOIN))
    Instrument.objects.update(hours=hours(60, 3600))
    close_position(position.pk)
    factories.claim_all()
    assert Order.objects.filter(position=position, status="SUBMITTING").exists()


def test_order_is_not_made_larger_while_the_market_is_closed(
    feed: Feed, broker: FakeBroker
) -> None:
    trade_bitcoin(feed, preset_market_hours_only=True)
    factories.signal(feed, **BITCOIN, order_type="LIMIT", open_price=D("1.09"))
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    order = Order.objects.get()
    assert order.quantity
    larger = WantedTerms(quantity=order.quantity + 1)
    Instrument.objects.filter(pair="BTC/USD").update(hours=hours(60, 3600))
    with pytest.raises(ConflictError) as refusal:
        change_order(order.pk, larger)
    assert refusal.value.code == "OUTSIDE_MARKET_HOURS"
    Instrument.objects.filter(pair="BTC/USD").update(hours=hours(-60, 60))
    change_order(order.pk, larger)
