"""The symbol that an account trades for a signal: the listed one, or its mapping's."""

from decimal import Decimal as D

import pytest

from common.errors import ConflictError
from connections.models import ConnectionHealth, ExecutionConnection, Instrument
from execution.models import ExecutionLog, Order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import BOOK

pytestmark = pytest.mark.usefixtures("inline_commits")

INDEX = {"digits": 1, "pip": D("0.1"), "quantity_min": D("0.1"), "quantity_step": D("0.1")}


@pytest.fixture
def alice(feed: Feed) -> ExecutionConnection:
    """Alice maps an index to a broker's symbol that is not the simplest one."""
    factories.instrument("GER40/EUR", symbol="GER40", **INDEX)
    factories.instrument("GER40/EUR", symbol="GER40.cash", is_preferred=False, **INDEX)
    row = factories.account(snapshot_currency="EUR", preset_fixed_quantity=D(1))
    make.subscription(row, feed, symbol_map={"DAX/EUR": "GER40.cash"})
    factories.quote(row, "18000", "18001", pair="GER40/EUR")
    return row


def elsewhere(feed: Feed, *pairs: str) -> ExecutionConnection:
    """Return an account at another broker, which lists these symbols."""
    row = factories.account(feed, instrument_book="elsewhere")
    known = Instrument.objects.filter(book="elsewhere").values_list("pair", flat=True)
    for pair in {*pairs} - {*known}:
        made = factories.instrument(pair, symbol=f"{pair} there", is_preferred=False)
        Instrument.objects.filter(pk=made.pk).update(book="elsewhere", is_preferred=True)
    return row


def index(feed: Feed) -> Signal:
    return factories.published(make.signal(feed, currency_pair="DAX/EUR", sl=D(17900)))


def test_mapped_symbol_is_traded_and_priced_as_the_brokers_symbol(
    feed: Feed, alice: ExecutionConnection
) -> None:
    signal = index(feed)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.symbol == "GER40.cash"
    factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.pair, position.symbol) == ("GER40/EUR", "GER40.cash")
    assert signal.currency_pair == "DAX/EUR"
    factories.close_signal(signal)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.symbol == "GER40.cash"


@pytest.mark.django_db(transaction=True)
def test_fan_out_skips_accounts_that_do_not_list_the_symbol(
    feed: Feed, alice: ExecutionConnection
) -> None:
    lacking = [elsewhere(feed, "EUR/USD").pk for _ in range(2)]
    waiting = elsewhere(feed, "EUR/USD")
    ConnectionHealth.objects.filter(pk=waiting.pk).update(reconciled_at=None)
    unread = factories.account(feed, instrument_book="")
    signal = index(feed)
    states = dict(Order.objects.filter(signal=signal).values_list("connection_id", "status"))
    assert states.pop(alice.pk) == states.pop(unread.pk) == "PENDING"
    assert states == dict.fromkeys([*lacking, waiting.pk], "SKIPPED")
    skipped = Order.objects.filter(signal=signal, status="SKIPPED")
    assert set(skipped.values_list("reason", flat=True)) == {"SYMBOL_NOT_AT_BROKER"}
    logged = ExecutionLog.objects.filter(signal_id=signal.pk, code="SYMBOL_NOT_AT_BROKER")
    assert logged.count() == 3
    factories.claim_all()
    assert Order.objects.get(connection=unread, signal=signal).reason == "SYMBOL_NOT_AT_BROKER"


def test_entry_of_an_ambiguous_symbol_is_denied_until_it_is_mapped(feed: Feed) -> None:
    unmapped = factories.account(feed)
    mapped = factories.account()
    subscription = make.subscription(mapped, feed, symbol_map={"EUR/USD": "EURUSD.b"})
    Instrument.objects.all().delete()
    factories.instrument(symbol="EURUSD.a", rivals="EURUSD.b")
    factories.instrument(symbol="EURUSD.b", is_preferred=False)
    signal = factories.signal(feed)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.symbol == "EURUSD.b"
    denied = Order.objects.get(signal=signal, connection=unmapped)
    assert (denied.status, denied.reason) == ("DENIED", "SYMBOL_AMBIGUOUS")
    logged = ExecutionLog.objects.get(order_id=denied.pk, code="SYMBOL_AMBIGUOUS")
    assert "EUR/USD: EURUSD.a, EURUSD.b" in logged.detail
    # What is open is closed in its own symbol, whatever the list or the map say now.
    factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
    subscription.symbol_map = {}
    subscription.save(update_fields=["symbol_map"])
    factories.close_signal(signal)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.symbol == "EURUSD.b"


@pytest.mark.django_db(transaction=True)
def test_signal_for_a_symbol_that_no_account_lists_is_not_published(feed: Feed) -> None:
    elsewhere(feed, "EUR/USD", "GER40/EUR")
    with pytest.raises(ConflictError, match=r"lists DAX/EUR. Similar listed symbols: GER40/EUR\."):
        index(feed)
    assert not Signal.objects.get().is_published
    assert not Order.objects.exists()
    assert Instrument.objects.filter(book=BOOK).exists()  # of another feed's accounts, perhaps
