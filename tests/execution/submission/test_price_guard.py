"""A price with a wrong digit is never published: the feed's guard, at entry points and publish."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from common.db.sql import rows
from common.errors import InvalidInputError
from common.reason_codes import Code
from execution.models import Order
from prices.models import LatestQuote
from signals import services
from signals.checks.price_guard import deviation_percent, notice
from signals.feeds.services import create_feed, update_feed
from signals.locks import candidates_exclusive
from signals.models import Action, Direction, Feed, Origin, Signal
from signals.models import OrderType as Type
from signals.publishing.batch import Publisher, entries_of
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft, Target
from signals.reading.errors import field_errors
from signals.slicing import ExecutionStyle
from tests.alerts.charting import Chart, fill_in, templates
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.test_lock_order import WAITING
from tests.execution.test_strategy_run import AlertClient
from tests.hanging import beside
from tests.until import until
from users.models import User

ENTRY = SignalDraft(pair="EUR/USD", direction=Direction.BUY)
Faults = list[tuple[str, str]]


def entry(**changes: Any) -> SignalDraft:
    return replace(ENTRY, **changes)


@pytest.fixture(autouse=True)
def account(feed: Feed) -> Any:
    """Return an account whose shared source quotes EUR/USD at 1.0999 / 1.1."""
    return factories.account(feed)


def faults(feed: Feed, draft: SignalDraft) -> Faults:
    """Return the faults with which a draft is refused; nothing may have been stored."""
    before = Signal.objects.count()
    try:
        with transaction.atomic():
            save_draft(feed, draft, origin=Origin.API, by=None)
            transaction.set_rollback(True)
    except InvalidInputError as error:
        assert Signal.objects.count() == before
        return [(str(one.code), one.field) for one in field_errors(error)]
    return []


def far(*fields: str) -> Faults:
    return [("PRICE_FAR_FROM_MARKET", name) for name in fields]


def target(*prices: str) -> tuple[Target, ...]:
    return tuple(Target(D(price), D("0.5")) for price in prices)


@pytest.mark.parametrize(
    ("price", "market", "percent"),
    [("1.1", "1.1", 0), ("11", "1.1", 900), ("0.11", "1.1", 900), ("1.65", "1.1", 50)],
)
def test_deviation_is_the_same_on_both_sides(price: str, market: str, percent: int) -> None:
    assert deviation_percent(D(price), D(market)) == percent


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"open_price": D(11)}, ["open_price"]),
        ({"order_type": Type.LIMIT, "open_price": D("0.11")}, ["open_price"]),
        ({"order_type": Type.STOP, "stop_price": D("11.2")}, ["stop_price"]),
        ({"order_type": Type.IF_TOUCHED, "stop_price": D("0.1")}, ["stop_price"]),
        (
            {"order_type": Type.STOP_LIMIT, "stop_price": D(11), "open_price": D("11.1")},
            ["open_price", "stop_price"],
        ),
        (
            {"order_type": Type.TRAILING_STOP, "trail_distance": D("0.01"),
             "activation_price": D("10.9")},
            ["activation_price"],
        ),
        (
            {"execution_style": ExecutionStyle.TWAP, "duration_seconds": 600, "slice_count": 6,
             "price_limit": D("11.05")},
            ["price_limit"],
        ),
        ({"sl": D("0.109")}, ["sl"]),
        ({"targets": target("1.2", "12")}, ["targets"]),
        (
            {"order_type": Type.LIMIT, "open_price": D(11), "sl": D("0.1"),
             "targets": target("12", "13")},
            ["open_price", "sl", "targets", "targets"],
        ),
    ],
)  # fmt: skip
def test_wrong_digit_is_refused_with_all_its_fields(
    feed: Feed, changes: dict[str, Any], fields: list[str]
) -> None:
    assert faults(feed, entry(**changes)) == far(*fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"sl": D("0.3"), "targets": target("2.2", "5.4")},  # far away, and meant
        {"order_type": Type.LIMIT, "open_price": D("0.8")},
        {"open_price": D("1.64")},
        {},
    ],
)
def test_prices_far_away_are_published_by_default(feed: Feed, changes: dict[str, Any]) -> None:
    assert faults(feed, entry(**changes)) == []


@pytest.mark.parametrize(
    ("field", "column", "edge"),
    [
        ("open_price", "max_price_deviation_percent", D("1.649925")),  # 1.09995 × 1.5
        ("sl", "max_level_deviation_percent", D("0.21999")),  # 1.09995 / 5
    ],
)
def test_edge_of_each_maximum(feed: Feed, field: str, column: str, edge: D) -> None:
    step = D("0.000001") * (1 if field == "open_price" else -1)
    assert faults(feed, entry(**{field: edge})) == []
    assert faults(feed, entry(**{field: edge + step})) == far(field)
    update_feed(feed.pk, by=None, **{column: None})
    assert faults(feed, entry(**{field: edge + step})) == []


def test_refusal_names_value_quote_and_maximum(feed: Feed, account: Any) -> None:
    with pytest.raises(InvalidInputError) as raised:
        save_draft(feed, entry(sl=D("0.11")), origin=Origin.API, by=None)
    source = account.data_connection.name
    assert raised.value.detail == (
        f"0.11 is 899.95 % from the market, which {source} quotes at 1.0999 / 1.1; the maximum is"
        " 400 %."
    )
    assert (raised.value.code, raised.value.field) == (Code.PRICE_FAR_FROM_MARKET, "sl")


@pytest.mark.parametrize(
    ("pair", "bid", "changes", "fields"),
    [
        ("BTC/JPY", "15000000", {"sl": D("0.000000000000000001")}, ["sl"]),
        ("EUR/USD", "0.00000001",
         {"order_type": Type.LIMIT, "open_price": D(99999999999999999999),
          "sl": D("0.000000000000000001"), "targets": target("999999999999999999990")},
         ["open_price", "sl", "targets"]),
    ],
)  # fmt: skip
def test_prices_of_any_size_are_refused_with_their_fields(
    feed: Feed, account: Any, pair: str, bid: str, changes: dict[str, Any], fields: list[str]
) -> None:
    if pair != "EUR/USD":
        factories.instrument(pair)
    factories.quote(account, bid, bid, pair=pair)
    assert faults(feed, entry(pair=pair, **changes)) == far(*fields)


def test_reversal_whose_entry_is_refused_still_closes(
    feed: Feed, account: Any, broker: FakeBroker, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    opened = factories.signal(feed)
    factories.filled(opened)
    factories.quote(account, "0.00000001", "0.00000001")
    chart = Chart(position=D(3))
    alert = json.loads(fill_in(templates()["strategy"], chart.order("Short", "sell", "6")))
    answer = AlertClient(feed).send(json.dumps(alert | {"sl": "4.9"}).encode())
    assert (answer["status"], answer["change"]) == (201, "reverse")
    assert "opened no short trade: 1.1 is 10999999900 % from" in answer["summary"]
    closing = Signal.objects.get(action=Action.CLOSE)
    assert (closing.refers_to, closing.is_published) == (opened, True)
    assert list(Signal.objects.filter(action=Action.OPEN)) == [opened]


def test_refused_price_in_a_file_leaves_its_other_entries(feed: Feed, account: Any) -> None:
    factories.instrument("BTC/JPY")
    factories.quote(account, "15000000", "15000000", pair="BTC/JPY")
    listed = {"feed": feed.slug, "direction": "BUY"}
    lines = [listed | {"symbol": "BTCJPY", "sl": "0.000000000000000001"},
             listed | {"symbol": "EURUSD"}]  # fmt: skip
    refused, published = Publisher().publish(entries_of(json.dumps(lines).encode()))
    assert [(str(error.code), error.field) for error in refused.errors] == far("sl")
    assert published.outcome == "published"


def test_deviation_is_exact_for_all_stored_digits() -> None:
    price = D("12345678901234567890.123456789012345678")
    assert deviation_percent(price, D(1)) == D("1234567890123456788912.3456789012345678")
    assert deviation_percent(D("1E-18"), D("1E20")) == D(9999999999999999999999999999999999999900)


def trailing(side: Direction = Direction.SELL, **distance: D) -> SignalDraft:
    return entry(order_type=Type.TRAILING_STOP, direction=side, **distance)


@pytest.mark.parametrize("side", Direction)
@pytest.mark.parametrize(
    ("field", "edge", "step"),
    [("trail_distance", "0.36665", "0.00001"), ("trail_pips", "3666.5", "0.1")],
)
def test_distance_of_a_trailing_stop_is_compared(
    feed: Feed, side: Direction, field: str, edge: str, step: str
) -> None:
    """A stop at 0.7333 is 50 % from 1.09995."""
    assert faults(feed, trailing(side, **{field: D(edge)})) == []
    for distance in (D(edge) + D(step), D(edge) * 3, D(10) ** 20 - 1):
        assert faults(feed, trailing(side, **{field: distance})) == far(field)
    update_feed(feed.pk, by=None, max_price_deviation_percent=None)
    assert faults(feed, trailing(side, **{field: D(edge) * 3})) == []


def test_refused_distance_is_described(feed: Feed, account: Any) -> None:
    quoted = f"the market, which {account.data_connection.name} quotes at 1.0999 / 1.1; the maximum"
    for distance, detail in (
        ("0.5", f"A stop at 0.59995, 0.5 below, is 83.34 % from {quoted} is 50 %."),
        ("1.09995", f"1.09995 is the whole price or more of {quoted} is 50 %."),
    ):
        with pytest.raises(InvalidInputError) as raised:
            save_draft(feed, trailing(trail_distance=D(distance)), origin=Origin.API, by=None)
        assert raised.value.detail == detail


def test_distance_is_compared_again_at_publish(feed: Feed, account: Any) -> None:
    factories.quote(account, "11")
    signal, _ = save_draft(feed, trailing(trail_distance=D("0.5")), origin=Origin.API, by=None)
    factories.quote(account)
    with pytest.raises(InvalidInputError, match=r"83\.34 %"):
        services.publish(signal.pk, by=None)
    assert "trail_distance: A stop at 0.59995" in notice(signal)


def test_smallest_pip_of_the_accounts_counts_and_an_unknown_one_refuses_nothing(
    feed: Feed, account: Any
) -> None:
    wide = trailing(trail_pips=D(5000))
    assert faults(feed, wide) == far("trail_pips")
    factories.instrument(book="other", pip=D("0.00001"))
    assert faults(feed, wide) == far("trail_pips")  # no account of the feed trades there
    other = factories.account(feed, instrument_book="other")
    assert faults(feed, wide) == []
    type(other).objects.filter(pk=other.pk).update(instrument_book="")
    assert faults(feed, wide) == far("trail_pips")
    type(other).objects.update(instrument_book="")  # no broker's list has been read
    assert faults(feed, wide) == []


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({"order_type": Type.TRAILING_STOP, "trail_distance": D("0.00001")}, "0.00000001"),
        ({"order_type": Type.TRAILING_STOP, "trail_pips": D("0.1")}, "0.0001"),
        # of 1.09995
        ({"order_type": Type.TRAILING_STOP, "trail_percent": D("0.00090914")}, "0.00000001"),
        ({"trailing_distance": D("0.1")}, "0.0001"),  # pips
        ({"trailing_distance": D("0.00001"), "stop_rule_unit": "PRICE"}, "0.00000001"),
        ({"trailing_distance": D(1), "stop_rule_unit": "TICKS"}, "0.0001"),
        ({"trailing_distance": D("0.0910"), "stop_rule_unit": "BPS"}, "0.0001"),
        ({"break_even_profit": D("0.1")}, "0.0001"),
    ],
)
def test_distance_below_a_tick_is_refused(
    feed: Feed, account: Any, fields: dict[str, Any], least: str
) -> None:
    """EUR/USD moves by 0.00001 at the feed's accounts."""
    draft = entry(**fields)
    [name] = [name for name, value in fields.items() if isinstance(value, D)]
    narrow = replace(draft, **{name: fields[name] - D(least)})
    assert faults(feed, draft) == []
    assert faults(feed, narrow) == [("DISTANCE_BELOW_TICK", name)]
    if fields.get("stop_rule_unit") == "TICKS":
        return
    factories.instrument(book="finer", tick=D("0.000001"))
    factories.account(feed, instrument_book="finer")
    factories.quote(account)
    assert faults(feed, narrow) == []


@pytest.mark.parametrize("name", ["break_even_offset", "trailing_step", "trailing_activation"])
def test_each_distance_of_a_rule_is_compared_with_a_tick(feed: Feed, name: str) -> None:
    whole = {"break_even_profit": D(5), "trailing_distance": D(5)}
    assert faults(feed, entry(**whole, **{name: D("0.1")})) == []
    assert faults(feed, entry(**whole, **{name: D("0.09")})) == [("DISTANCE_BELOW_TICK", name)]
    assert faults(feed, entry(**whole, **{name: D("0.09")}, stop_rule_unit="ATR")) == []


def test_prices_are_compared_again_at_publish(feed: Feed, account: Any) -> None:
    draft = entry(order_type=Type.LIMIT, open_price=D("1.09"), targets=target("1.2", "6"))
    factories.quote(account, "1.5")  # 6 is four times that
    signal, _ = save_draft(feed, draft, origin=Origin.API, by=None)
    factories.quote(account, "1.1")
    with pytest.raises(InvalidInputError) as raised:
        services.publish(signal.pk, by=None)
    assert [one.field for one in field_errors(raised.value)] == ["targets"]
    signal.refresh_from_db()
    assert not signal.is_published
    assert not Order.objects.exists()
    assert "targets: 6 is 445.43 % from the market" in notice(signal)
    factories.quote(account, "1.3")
    assert services.publish(signal.pk, by=None)


def test_modify_is_compared_and_close_never(feed: Feed) -> None:
    opened = factories.signal(feed)
    change = SignalDraft(action=Action.MODIFY, refers_to=opened.pk)
    assert faults(feed, replace(change, sl=D("0.108"), targets=target("12"))) == far(
        "sl", "targets"
    )
    assert faults(feed, replace(change, sl=D("1.08"))) == []
    LatestQuote.objects.update(bid=D("0.001"), ask=D("0.001"))
    close = SignalDraft(action=Action.CLOSE, refers_to=opened.pk)
    signal, _ = save_draft(feed, close, origin=Origin.API, by=None)
    assert services.publish(signal.pk, by=None)


def test_without_a_recent_quote_nothing_is_compared_and_the_page_states_it(
    feed: Feed, account: Any
) -> None:
    wrong = entry(sl=D("0.1"))
    LatestQuote.objects.update(received_at=timezone.now() - timedelta(days=3, hours=23))
    assert faults(feed, wrong) == far("sl")  # a weekend and a holiday
    LatestQuote.objects.update(received_at=timezone.now() - timedelta(days=4, minutes=1))
    assert faults(feed, wrong) == []
    signal, _ = save_draft(feed, wrong, origin=Origin.API, by=None)
    assert "no recent quote of EUR/USD" in notice(signal)
    factories.quote(account)
    assert "899.95" not in notice(signal)
    assert "sl: 0.1 is 999.95 %" in notice(signal)


def test_only_shared_sources_and_the_owners_count(feed: Feed, account: Any) -> None:
    wrong = entry(sl=D("0.1"))
    source = account.data_connection
    stranger = User.objects.create_user("stranger")
    type(source).objects.filter(pk=source.pk).update(user=stranger)
    assert faults(feed, wrong) == []  # another tenant's quotes stop no publication
    type(source).objects.filter(pk=source.pk).update(user=feed.owner)
    assert faults(feed, wrong) == far("sl")
    type(source).objects.filter(pk=source.pk).update(is_active=False)
    assert faults(feed, wrong) == []


def test_newest_quote_counts(feed: Feed, account: Any) -> None:
    other = factories.account(feed)
    factories.quote(other, "2.2")
    LatestQuote.objects.filter(data_connection=account.data_connection).update(
        received_at=timezone.now() - timedelta(minutes=1)
    )
    assert faults(feed, entry(open_price=D("1.1"))) == far("open_price")
    assert faults(feed, entry(open_price=D("3.2"))) == []


def test_maximum_is_above_0_or_empty(feed: Feed) -> None:
    for name in ("max_price_deviation_percent", "max_level_deviation_percent"):
        with pytest.raises(InvalidInputError) as raised:
            update_feed(feed.pk, by=None, **{name: D(0)})
        assert (raised.value.code, raised.value.field) == (Code.FIELD_INVALID, name)
        with pytest.raises(IntegrityError, match="feed_deviations_gt_0"), transaction.atomic():
            Feed.objects.filter(pk=feed.pk).update(**{name: D(0)})
    made = create_feed(owner=feed.owner, name="New")
    assert (made.max_price_deviation_percent, made.max_level_deviation_percent) == (50, 400)


@pytest.mark.django_db(transaction=True)
def test_edit_while_a_publication_waits_is_compared(feed: Feed) -> None:
    signal, _ = save_draft(feed, entry(sl=D("1.09")), origin=Origin.API, by=None)
    refused: list[str] = []

    def publish() -> None:
        with pytest.raises(InvalidInputError) as raised:
            services.publish(signal.pk, by=None)
        refused.append(raised.value.field)

    with transaction.atomic():
        candidates_exclusive(feed.pk)
        publication = beside(publish)
        until(lambda: bool(rows(WAITING)))
        Signal.objects.filter(pk=signal.pk).update(sl=D("0.109"))
    publication.join(120)
    assert refused == ["sl"]
    assert not Order.objects.exists()
    Signal.objects.filter(pk=signal.pk).update(sl=D("1.08"))
    with transaction.atomic():  # an edit that began before it
        Signal.objects.filter(pk=signal.pk).update(sl=D("0.109"))
        publication = beside(publish)
        until(lambda: bool(rows(WAITING)))
    publication.join(120)
    assert refused == ["sl", "sl"]
    assert not Order.objects.exists()
