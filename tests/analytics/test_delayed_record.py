"""What a record shows of the last 24 hours to those who do not take the feed: nothing."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from analytics.models import FeedRecord, FeedTrade
from analytics.records import computation as feed_records
from analytics.records.proof import check_results
from analytics.records.selectors import (
    curve_of,
    figures_of_feeds,
    record_of,
    trade_rows,
    trades_of,
)
from analytics.results.exports import Row
from common.db.sql import rows as sql_rows
from common.hash_chain import Findings
from connections.models import DataConnection
from signals.models import Feed, Signal
from signals.records.selectors import feeds_with_new, record_feed, sees_new
from tests.analytics.test_feed_records import T, at, bars, filled, published, subscriber
from tests.portal.test_feed_record import web_role
from users.models import User

pytestmark = pytest.mark.django_db
D = Decimal
DAY = 24 * 60
NOW = DAY + 62  # minutes after the publication; what changes the trade comes ten before
Change = Callable[[Feed, DataConnection, Signal], Any]


def changed(**fields: Any) -> Change:
    return lambda feed, source, opened: published(
        feed, source, NOW - 10, refers_to=opened, **fields
    )


def cancelled(feed: Feed, source: DataConnection, opened: Signal) -> None:
    when = T + timedelta(minutes=NOW - 10)
    Signal.objects.filter(pk=opened.pk).update(cancelled_at=when)


def closed_by_subscribers(feed: Feed, source: DataConnection, opened: Signal) -> None:
    for number in range(5):
        filled(subscriber(feed, number), opened, 11)


@pytest.fixture
def source(source: DataConnection) -> DataConnection:
    """Its price falls to 1.0980 and comes back in the minute after the changes."""
    flat = ("1.1", "1.1", "1.1", "1.1")
    bars(source, *((minute, *flat) for minute in (1, NOW - 15, NOW - 11)),
         (NOW - 8, "1.1", "1.1", "1.0980", "1.1"), (NOW - 5, *flat))  # fmt: skip
    return source


def seen(feed: Feed, minutes: float, *, with_new: bool) -> tuple[list[Row], Any, Any]:
    """The trades as a file, the figures and the curve at a time."""
    at(minutes)
    feed_records.compute_feed(feed)
    figures = record_of(feed, with_new=with_new).figures
    return list(trade_rows(feed, with_new=with_new)), figures, curve_of(feed, with_new=with_new)


WAITING = {"order_type": "LIMIT", "open_price": D("1.0990")}
UNPRICED = {"market_at": T - timedelta(hours=1)}
MARKED = {"action": "CLOSE", "marks": ["WRITTEN_EARLIER"]}
CHANGES: dict[str, tuple[dict[str, Any], Change]] = {
    "close": ({}, changed(**MARKED)),
    "close of a half": ({}, changed(**MARKED, close_fraction=D("0.5"))),
    "close without a price": (UNPRICED, changed(**MARKED)),
    "stop that is reached": ({}, changed(action="MODIFY", sl=D("1.0990"))),
    "rule that bars cannot follow": (
        {}, changed(action="MODIFY", trailing_distance=D(20), stop_rule_unit="PIPS"),
    ),
    "entry that is reached": (WAITING | {"open_price": D("1.0900")}, changed(
        action="MODIFY", open_price=D("1.0990"))),
    "cancellation": (WAITING, cancelled),
    "fills of five persons": (UNPRICED, closed_by_subscribers),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_trade_that_changed_since_looks_unchanged_to_others(
    feed: Feed, source: DataConnection, name: str
) -> None:
    entry, change = CHANGES[name]
    opened = published(feed, source, sl=D("1.0800"), **entry)
    before = [seen(feed, NOW - 12, with_new=with_new) for with_new in (True, False)]
    change(feed, source, opened)
    after = [seen(feed, NOW, with_new=with_new) for with_new in (True, False)]
    assert after[0] != before[0]  # subscribers see it at once
    assert after[1] == before[1]
    all_of_it, delayed = (seen(feed, NOW + DAY, with_new=with_new) for with_new in (True, False))
    if all_of_it[1].open == 0:
        assert delayed == all_of_it


@pytest.mark.parametrize(
    "rule",
    [{"trailing_distance": D(20), "stop_rule_unit": "PIPS"}, {"break_even_target": 1}],
    ids=["trailing", "break-even"],
)
def test_rule_for_a_trade_of_a_month_is_withheld_too(
    feed: Feed, source: DataConnection, rule: dict[str, Any]
) -> None:
    """What bars cannot follow is final four weeks after the rule, not after the publication."""
    opened = published(
        feed, source, sl=D("1.0800"), target_prices=[D("1.2")], target_fractions=[D(1)]
    )
    month = 30 * DAY
    before = [seen(feed, day * DAY, with_new=False) for day in range(6, 31, 6)][-1]
    published(feed, source, month + 10, refers_to=opened, action="MODIFY", **rule)
    assert seen(feed, month + 30, with_new=False) == before
    assert FeedTrade.objects.get().state == "UNKNOWN"
    for minutes, is_final in ((DAY + 30, False), (28 * DAY, False), (28 * DAY + 30, True)):
        assert seen(feed, month + minutes, with_new=False)[1].unknown == 1
        assert FeedTrade.objects.get().is_final == is_final


def test_figures_curve_and_trades_are_of_one_time_between_two_runs(
    feed: Feed, source: DataConnection
) -> None:
    opened = published(feed, source, sl=D("1.0800"))
    published(feed, source, 60, action="CLOSE", refers_to=opened, bid=D("1.1100"))
    published(feed, source, 70)

    def of_others(minutes: float) -> tuple[Any, ...]:
        at(minutes)
        trades = trades_of(feed, before=None, limit=9, with_new=False)
        figures, curve = record_of(feed, with_new=False).figures, curve_of(feed, with_new=False)
        return figures.closed, len(curve), [trade.state for trade in trades]

    assert of_others(DAY + 50) == (0, 0, [])  # not computed yet
    feed_records.compute_feed(feed)
    assert of_others(DAY + 50) == of_others(DAY + 109) == (0, 0, ["OPEN"])
    feed_records.compute_feed(feed)
    assert of_others(DAY + 110) == (1, 2, ["OPEN", "CLOSED"])


def test_record_of_the_earlier_version_is_not_computed_for_others(
    feed: Feed, source: DataConnection
) -> None:
    """While it is deployed, a process of the earlier version stores records without `delayed`."""
    opened = published(feed, source, sl=D("1.0800"))
    published(feed, source, 60, action="CLOSE", refers_to=opened, bid=D("1.1100"))
    computed = [seen(feed, 2 * DAY, with_new=with_new) for with_new in (True, False)]
    stored = FeedRecord.objects.get()
    stored.delete()
    sql_rows("INSERT INTO analytics_feedrecord (feed_id, until, followers, figures)"
             " VALUES (%s, %s, 0, %s::jsonb)",
             [feed.pk, stored.until, json.dumps(stored.figures)])  # fmt: skip
    for with_new, closed in ((True, [1]), (False, [])):
        record = record_of(feed, with_new=with_new)
        trades = list(trade_rows(feed, with_new=with_new))[1:]
        curve = curve_of(feed, with_new=with_new)
        listed = figures_of_feeds([feed.pk], [feed.pk] if with_new else [])
        assert [one.closed for one in listed.values()] == closed
        shown = {record.until is not None, record.figures.closed == 1, bool(trades), bool(curve)}
        assert shown == {with_new}
    findings = Findings()
    check_results(findings, feed.pk)
    assert not findings.wrong
    assert [seen(feed, 2 * DAY, with_new=with_new) for with_new in (True, False)] == computed


def test_open_trade_has_what_was_known_a_day_ago(feed: Feed, source: DataConnection) -> None:
    opened = published(feed, source, sl=D("1.0800"), marks=["PRICE_MOVED"])
    published(feed, source, 30, action="CLOSE", refers_to=opened, close_fraction=D("0.5"),
              bid=D("1.1010"), marks=["LEVEL_PASSED"])  # fmt: skip
    changed(**MARKED, bid=D("1.1050"))(feed, source, opened)
    at(NOW)
    feed_records.compute_feed(feed)
    (trade,) = trades_of(feed, before=None, limit=9, with_new=False)
    assert (trade.state, trade.entry_price, trade.exit_price) == ("OPEN", D("1.1002"), D("1.1010"))
    assert (trade.ended_at, trade.percent, trade.r) == (None, None, None)
    assert trade.marks == ["LEVEL_PASSED", "PRICE_MOVED"]
    assert FeedTrade.objects.get().state == "CLOSED"  # nothing of this is stored


def test_final_trade_without_an_end_counts_as_unknown(feed: Feed, source: DataConnection) -> None:
    """It has had four weeks for fills: nothing of it is withheld."""
    for number in range(4):
        published(feed, source if number else None, number, sl=D("1.0995"))
    at(NOW)
    feed_records.compute_feed(feed)
    FeedTrade.objects.filter(state="UNKNOWN").update(is_final=True)
    figures = record_of(feed, with_new=False).figures
    assert (figures.open, figures.unknown, figures.closed) == (3, 1, 0)
    assert seen(feed, NOW + DAY, with_new=False)[1].closed == 3


def test_visitor_gets_the_close_a_day_after_it_on_page_api_and_file(
    feed: Feed, source: DataConnection, client: Client
) -> None:
    Feed.objects.filter(pk=feed.pk).update(is_public=True, record_is_public=True)
    opened = published(feed, source, sl=D("1.0800"))
    changed(action="CLOSE")(feed, source, opened)
    sql_rows("SET CONSTRAINTS record_seal IMMEDIATE")
    visitor = record_feed(feed.slug, None)
    assert visitor is not None
    assert not sees_new(visitor, None)

    def shown(minutes: float) -> tuple[Any, ...]:
        at(minutes)
        feed_records.compute_feed(feed)
        api = [reverse(f"feed-record{name}", args=[feed.slug]) for name in ("", "-trades")]
        with web_role():
            record, trades = (client.get(address).json() for address in api)
            file = b"".join(client.get(api[1], {"format": "csv"}).streaming_content)  # type: ignore[attr-defined]
            page = client.get(reverse("portal:public_record", args=[feed.slug]))
        (trade,) = trades["trades"]
        figures = [record[name] for name in ("open", "closed", "open_percent")]
        in_page = " ".join(page.content.decode().split())
        return trade["state"], trade["ended_at"], figures, b",CLOSED," in file, (
            "Result of closed trades by day" in in_page, "<td" in in_page and " Closed " in in_page
        )  # fmt: skip

    assert shown(NOW) == ("OPEN", None, [1, 0, "0"], False, (False, False))
    state, ended_at, figures, *is_closed = shown(NOW + DAY)
    assert (state, figures, is_closed) == ("CLOSED", [0, 1, "0"], [True, (True, True)])
    assert ended_at is not None


def test_owner_subscribers_and_operators_see_what_is_new(feed: Feed) -> None:
    account = subscriber(feed, 1)
    other = Feed.objects.create(slug="minors", name="Minors", owner=User.objects.create_user("bob"))
    operator = User.objects.create_user("olga", is_staff=True, is_superuser=True)
    ids = [feed.pk, other.pk]
    assert account.user is not None
    for user, expected in ((feed.owner, {feed.pk}), (account.user, {feed.pk}), (operator, {*ids})):
        assert feeds_with_new(user, ids) == expected
        assert [sees_new(one, user) for one in (feed, other)] == [one in expected for one in ids]
    account.subscriptions.update(archived_at=T)
    assert feeds_with_new(account.user, ids) == set()
