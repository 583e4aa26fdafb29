"""An opposite side without a stop may end the open trade, also with a price: no entry then."""

import pytest
from django.core.cache import cache

from alerts.carry_out import trades as alert_trades
from alerts.preview import preview_alert
from common.errors import FillcastError
from common.reason_codes import Code
from signals import open_signals
from signals.feeds import services as feeds
from signals.feeds.rate import forget_failures
from signals.models import Feed, Signal
from tests.alert_inbox import deliver
from tests.matrix import WALK_TIME, Walk
from users.tenancy import on_behalf_of


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    forget_failures()
    cache.clear()


@pytest.fixture
def all_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each published signal counts as open: there is no account in these tests."""
    monkeypatch.setattr(open_signals, "_sources", ["true"])
    monkeypatch.setattr(alert_trades, "_filled_sources", [])


@pytest.fixture
def secret(feed: Feed) -> str:
    return feeds.create_feed_token(feed)[1]


BARE = [
    "SELL EURUSD NOW @ 1.3900", "Sell EURUSD at market 1.3900", "SELL EURUSD @ 1.3900",
    "SPOT SELL EURUSD @ 1.3900", "SELL LIMIT EURUSD @ 1.3900", "SELL STOP EURUSD @ 1.3700",
    "Action: SELL | Symbol: EURUSD | Price: 1.3900", "symbol=EURUSD side=sell price=1.3900",
    "ticker=EURUSD;action=sell;price=1.3900;quantity=1", "action=sell&ticker=EURUSD&price=1.3900",
    "SELL EURUSD @ 1.3900 lot 0.5", "SELL EURUSD now 0.5 lots", "SELL EURUSD TP 1.3900",
    "Signal: SELL\nPair: EURUSD\nPrice: 1.3900", '{"content": "SELL EURUSD @ 1.3900"}',
    "60123456789,sell,EURUSD", "60123456789,sell,EURUSD,vol_lots=1",
    "60123456789,selllimit,EURUSD,price=1.3900",
    '{"symbol":"EURUSD","side":"sell","order_type":"LIMIT","open_price":"1.3900"}',
]  # fmt: skip


def refusal(feed: Feed, secret: str, text: str) -> FillcastError | None:
    try:
        deliver(feed, secret, text.encode())
    except FillcastError as error:
        return error
    return None


@pytest.mark.usefixtures("all_are_open")
@WALK_TIME
def test_bare_sell_with_a_price_is_refused_while_a_long_trade_is_open(
    feed: Feed, secret: str
) -> None:
    deliver(feed, secret, b"BUY EURUSD @ 1.3850 SL 1.3800")
    with Walk() as walk:
        for text in walk.each(BARE):
            with walk.cell(text) as cell:
                with on_behalf_of(feed.owner):
                    shown = preview_alert(feed, text.encode())
                cell.expect([Code.ALERT_AMBIGUOUS], [one.code for one in shown.errors][:1], "test")
                refused = refusal(feed, secret, text)
                cell.expect(Code.ALERT_AMBIGUOUS, refused and refused.code)
                sentence = "could open a short trade, or close a long one"
                cell.expect(True, sentence in (refused.detail if refused else ""), "says why")
                cell.expect(1, Signal.objects.count(), "signals")


@pytest.mark.usefixtures("all_are_open")
@WALK_TIME
def test_bare_sell_with_a_price_opens_where_nothing_is_open(feed: Feed, secret: str) -> None:
    with Walk() as walk:
        for text in walk.each(BARE):
            with walk.cell(text) as cell:
                (signal,) = deliver(feed, secret, text.encode()).signals
                cell.expect(("OPEN", "SELL"), (signal.action, signal.direction))


@pytest.mark.usefixtures("all_are_open")
@pytest.mark.parametrize("text", [
    "SHORT EURUSD @ 1.3900", "SELL EURUSD @ 1.3900 SL 1.3950", "SELL EURUSD @ 1.3900 TP 1.3800",
    "SELL EURUSD Entry: 1.3900", "60123456789,short,EURUSD",
    "60123456789,sell,EURUSD,sl_price=1.395",
])  # fmt: skip
def test_clear_entry_on_the_other_side_opens_beside_a_trade(
    feed: Feed, secret: str, text: str
) -> None:
    deliver(feed, secret, b"BUY EURUSD @ 1.3850 SL 1.3800")
    (signal,) = deliver(feed, secret, text.encode()).signals
    assert signal.direction == "SELL"
