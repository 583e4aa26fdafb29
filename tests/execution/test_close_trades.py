"""Closing what a feed has open by one call: all of it, one symbol, one side, or a share."""

import json
from decimal import Decimal as D
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Direction, Feed, Origin, Signal
from signals.publishing.closing import ClosedTrades, TradeSelection, close_trades, open_trades
from tests.changes.races import meet
from tests.connections import make
from tests.execution import factories
from users.models import User

pytestmark = pytest.mark.django_db
ALL = TradeSelection()


@pytest.fixture
def trades(alice: ExecutionConnection, feed: Feed) -> tuple[Signal, Signal, Signal]:
    """A filled buy and a filled sell of EUR/USD, and an entry of GBP/USD that is not sent yet."""
    factories.instrument("GBP/USD")
    factories.quote(alice, pair="GBP/USD")
    buy = factories.signal(feed)
    sell = factories.signal(feed, direction="SELL", sl=D("1.11"))
    factories.fill_all()
    return buy, sell, factories.signal(feed, currency_pair="GBP/USD")


def close(feed: Feed, selection: TradeSelection = ALL, external_id: str = "") -> ClosedTrades:
    return close_trades(feed, selection, origin=Origin.API, external_id=external_id, by=feed.owner)


def closed_ids(closed: ClosedTrades) -> list[int | None]:
    return [signal.refers_to_id for signal in closed.signals]


def exits() -> dict[int | None, D | None]:
    """Return the quantity of the exits by the signal that opened their position."""
    rows = Order.objects.exits().values_list("position__signal_id", "quantity")
    return dict(rows)


def test_all_trades_of_the_feed_are_closed(feed: Feed, trades: tuple[Signal, ...]) -> None:
    buy, sell, unsent = trades
    closed = close(feed)
    assert closed_ids(closed) == [buy.pk, sell.pk, unsent.pk]
    assert all(signal.is_published for signal in closed.signals)
    assert exits() == {buy.pk: 100, sell.pk: 100}
    assert Order.objects.get(signal=unsent).reason == Code.CLOSED_BEFORE_SENT
    factories.fill_all()
    assert not ExecutionPosition.objects.open().exists()


def test_trades_of_other_feeds_stay(feed: Feed, trades: tuple[Signal, ...]) -> None:
    other = make.feed()
    assert close(other) == ClosedTrades()
    assert exits() == {}


@pytest.mark.parametrize("symbol", ["EUR/USD", "EURUSD", " eurusd "])
def test_only_the_trades_of_a_symbol_are_closed(
    feed: Feed, trades: tuple[Signal, ...], symbol: str
) -> None:
    buy, sell, _ = trades
    assert closed_ids(close(feed, TradeSelection(symbol))) == [buy.pk, sell.pk]


def test_only_the_trades_of_a_side_are_closed(feed: Feed, trades: tuple[Signal, ...]) -> None:
    selection = TradeSelection("EUR/USD", Direction.SELL)
    assert closed_ids(close(feed, selection)) == [trades[1].pk]


def test_share_of_each_position_is_closed(feed: Feed, trades: tuple[Signal, ...]) -> None:
    close(feed, TradeSelection("EUR/USD", fraction=D("0.5")))
    assert exits() == {trades[0].pk: 50, trades[1].pk: 50}


def test_trade_that_the_feed_has_closed_is_skipped(feed: Feed, trades: tuple[Signal, ...]) -> None:
    buy, sell, unsent = trades
    factories.close_signal(buy)  # its exit has not filled yet
    closed = close(feed)
    assert (closed_ids(closed), closed.skipped) == ([sell.pk, unsent.pk], (buy.pk,))


def test_repetition_closes_nothing_that_was_opened_since(
    feed: Feed, trades: tuple[Signal, ...]
) -> None:
    first = close(feed, external_id="evening")
    later = factories.signal(feed)
    factories.fill_all()
    assert close(feed, external_id="evening").signals == first.signals
    assert not Order.objects.exits().filter(position__signal=later).exists()
    assert closed_ids(close(feed, external_id="next evening")) == [later.pk]


@pytest.mark.django_db(transaction=True)
def test_repetition_that_comes_at_the_same_time_gets_the_same_signals(
    feed: Feed, trades: tuple[Signal, ...]
) -> None:
    def closed() -> list[int]:
        return [signal.pk for signal in close(feed, external_id="evening").signals]

    first, repeated = meet(closed, closed)
    assert (first, len(exits())) == (repeated, 2)
    assert not feed.received_alerts.exists()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (TradeSelection(fraction=D("0.5")), ALL),
        (TradeSelection("EUR/USD"), TradeSelection("GBP/USD")),
        (TradeSelection("EUR/USD"), ALL),
        (ALL, TradeSelection("EUR/USD")),
        (TradeSelection(direction=Direction.SELL), TradeSelection(direction=Direction.BUY)),
        (TradeSelection(direction=Direction.SELL), ALL),
    ],
)
def test_repetition_with_another_selection_is_refused(
    feed: Feed, trades: tuple[Signal, ...], first: TradeSelection, then: TradeSelection
) -> None:
    closed = close(feed, first, external_id="evening")
    with pytest.raises(ConflictError) as refused:
        close(feed, then, external_id="evening")
    assert refused.value.code is Code.DUPLICATE_SIGNAL
    assert close(feed, first, external_id="evening") == ClosedTrades(closed.signals)


def test_repetition_of_a_call_that_found_nothing_closes_nothing(
    feed: Feed, alice: ExecutionConnection
) -> None:
    dollar = TradeSelection("EUR/USD")
    assert close(feed, dollar, external_id="evening") == ClosedTrades()
    later = factories.signal(feed)
    factories.fill_all()
    assert close(feed, dollar, external_id="evening") == ClosedTrades()
    with pytest.raises(ConflictError) as refused:
        close(feed, external_id="evening")
    assert refused.value.code is Code.DUPLICATE_SIGNAL
    assert exits() == {}
    assert closed_ids(close(feed, dollar, external_id="next evening")) == [later.pk]


def test_signals_state_what_was_closed_with_them(feed: Feed, trades: tuple[Signal, ...]) -> None:
    (closed,) = close(feed, TradeSelection("eurusd", Direction.SELL)).signals
    assert closed.note == "Closes all SELL trades in EUR/USD of the feed."


def test_nothing_open_is_no_error(feed: Feed, alice: ExecutionConnection) -> None:
    assert close(feed) == ClosedTrades()


def test_signals_of_an_unapproved_feed_wait_for_approval(
    feed: Feed, trades: tuple[Signal, ...]
) -> None:
    Feed.objects.filter(pk=feed.pk).update(is_approved=False)
    closed = close(Feed.objects.get(pk=feed.pk))
    assert {signal.approval for signal in closed.signals} == {"PENDING"}
    assert exits() == {}


def test_close_that_waits_for_approval_is_not_written_again(
    feed: Feed, trades: tuple[Signal, ...]
) -> None:
    Feed.objects.filter(pk=feed.pk).update(is_approved=False)
    feed.refresh_from_db()
    half = TradeSelection("GBP/USD", fraction=D("0.5"))
    assert closed_ids(close(feed, half)) == [trades[2].pk]
    assert close(feed, half) == ClosedTrades(skipped=(trades[2].pk,))
    assert closed_ids(close(feed, TradeSelection("GBP/USD"))) == [trades[2].pk]  # a larger share


def test_selection_shows_what_would_be_closed_and_changes_nothing(
    feed: Feed, trades: tuple[Signal, ...]
) -> None:
    before = Signal.objects.count()
    assert open_trades(feed, TradeSelection("GBP/USD")).signals == (trades[2],)
    assert Signal.objects.count() == before


@pytest.mark.parametrize(
    ("selection", "field", "code"),
    [
        (TradeSelection("?!"), "symbol", Code.SYMBOL_UNKNOWN),
        (TradeSelection(fraction=D(0)), "close_fraction", Code.FIELD_INVALID),
        (TradeSelection(fraction=D("1.01")), "close_fraction", Code.FIELD_INVALID),
        (TradeSelection(fraction=D("0.3333333333333333333")), "close_fraction", Code.FIELD_INVALID),
    ],
)
def test_wrong_selection_is_refused_with_its_field(
    feed: Feed, selection: TradeSelection, field: str, code: Code
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        close(feed, selection)
    assert (refused.value.field, refused.value.code) == (field, code)


def test_long_external_id_is_refused(feed: Feed) -> None:
    with pytest.raises(InvalidInputError) as refused:
        close(feed, external_id="x" * 71)
    assert refused.value.field == "external_id"


def test_only_the_owner_and_operators_close_a_feeds_trades(
    feed: Feed, trades: tuple[Signal, ...]
) -> None:
    stranger = User.objects.create_user("stranger")
    with pytest.raises(NotAllowedError):
        close_trades(feed, ALL, origin=Origin.API, by=stranger)


class TestCommand:
    """`manage.py close_trades`."""

    def test_shows_what_would_be_closed(self, feed: Feed, trades: tuple[Signal, ...]) -> None:
        with pytest.raises(CommandError, match="3 trades would be closed") as shown:
            call_command("close_trades", feed=feed.slug)
        assert trades[0].number in str(shown.value)
        assert exits() == {}

    def test_closes_and_prints_json(self, feed: Feed, trades: tuple[Signal, ...]) -> None:
        out = StringIO()
        call_command(
            "close_trades", feed=feed.slug, symbol="EUR/USD", yes=True, stdout=out, stderr=out
        )
        printed = json.loads(out.getvalue().splitlines()[-1])
        closes = Signal.objects.filter(action="CLOSE")
        assert sorted(printed["closed"]) == sorted(closes.values_list("pk", flat=True))
        assert (printed["waiting"], printed["skipped"]) == ([], [])
        assert "Closed: 2 trades." in out.getvalue()

    def test_counts_those_that_wait_for_approval_apart(
        self, feed: Feed, trades: tuple[Signal, ...]
    ) -> None:
        Feed.objects.filter(pk=feed.pk).update(is_approved=False)
        out = StringIO()
        call_command(
            "close_trades", feed=feed.slug, symbol="GBP/USD", yes=True, stdout=out, stderr=out
        )
        printed = json.loads(out.getvalue().splitlines()[-1])
        assert (printed["closed"], len(printed["waiting"])) == ([], 1)
        assert "Not closed yet: 1 trade." in out.getvalue()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"feed": "nowhere"}, "There is no feed 'nowhere'"),
            ({"fraction": "half"}, "--fraction must be a number"),
            ({"fraction": "2"}, "FIELD_INVALID"),
            ({"symbol": "?!"}, "SYMBOL_UNKNOWN"),
            ({"fraction": "nan"}, "--fraction must be a number"),
            (
                {"feed": "nowhere", "fraction": "half", "symbol": "?!", "external_id": "x" * 71},
                "There is no feed.*\n--fraction must.*\nSYMBOL_UNKNOWN.*\nFIELD_INVALID",
            ),
            ({"symbol": "?!", "fraction": "2"}, "SYMBOL_UNKNOWN.*\nFIELD_INVALID"),
        ],
    )
    def test_explains_a_wrong_option(
        self, feed: Feed, options: dict[str, str], message: str
    ) -> None:
        with pytest.raises(CommandError, match=message):
            call_command("close_trades", **{"feed": feed.slug, **options})


def test_all_faults_of_a_selection_are_named_at_once(feed: Feed) -> None:
    with pytest.raises(InvalidInputError) as refused:
        close(feed, TradeSelection("?!", fraction=D(2)), external_id="x" * 71)
    faults = [refused.value, *refused.value.others]
    assert [fault.field for fault in faults] == ["symbol", "close_fraction", "external_id"]
    assert not feed.signals.filter(action="CLOSE").exists()
