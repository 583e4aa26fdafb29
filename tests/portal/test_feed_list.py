"""The list of feeds: search, order, pages, and the figures of each record."""

import re
from dataclasses import replace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from analytics.models import FeedRecord
from analytics.records.figures import Figures, to_json
from common.clocks import market_now
from portal.selectors.feeds import A_PAGE
from signals.models import Feed
from tests.html import html_of
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import D, World

pytestmark = pytest.mark.django_db
PAGE = reverse("portal:feeds")


@pytest.fixture
def alice(signed_in: SignedIn, world: World) -> Client:
    return as_web_process(signed_in(world.alice))


def with_record(
    feed: Feed, percent: str, drawdown: str, signals: int, followers: int, *, delayed: str = ""
) -> None:
    """delayed: the percent of 24 hours ago, if it was another."""
    figures = Figures(percent=D(percent), drawdown_percent=D(drawdown), closed=signals - 1, open=1)
    then = replace(figures, percent=D(delayed)) if delayed else figures
    FeedRecord.objects.create(
        feed=feed, until=market_now(), followers=followers, figures=to_json(figures),
        delayed=to_json(then),
    )  # fmt: skip


def listed(client: Client, **query: str) -> list[str]:
    """The names of the feeds, in the order of the page."""
    page = html_of(client.get(PAGE, query))
    names = re.findall(r'<h2 class="fc-wrap"[^>]*>\s*(.*?)\s*<', page)
    return [str(name) for name in names]


@pytest.fixture
def three(world: World) -> None:
    """Alice takes Macro Breakout; Kiwi Carry and Quiet are for all."""
    with_record(world.breakout, "12.5", "3", 40, 7)
    with_record(world.carry, "-2", "9", 120, 4)
    Feed.objects.create(slug="quiet", name="Quiet", owner=world.bob, description="Sundays")


@pytest.mark.parametrize(("sort", "names"), [
    ("", ["Macro Breakout", "Kiwi Carry", "Quiet"]),
    ("name", ["Kiwi Carry", "Macro Breakout", "Quiet"]),
    ("newest", ["Quiet", "Kiwi Carry", "Macro Breakout"]),
    ("result", ["Macro Breakout", "Kiwi Carry", "Quiet"]),
    ("drawdown", ["Macro Breakout", "Kiwi Carry", "Quiet"]),
    ("signals", ["Kiwi Carry", "Macro Breakout", "Quiet"]),
    ("followers", ["Macro Breakout", "Kiwi Carry", "Quiet"]),
    ("unknown", ["Macro Breakout", "Kiwi Carry", "Quiet"]),
])  # fmt: skip
def test_feeds_are_in_the_chosen_order(
    alice: Client, three: None, sort: str, names: list[str]
) -> None:
    found = [name for name in listed(alice, sort=sort) if name in names]
    assert found == names


@pytest.mark.parametrize(("text", "names"), [
    ("kiwi", ["Kiwi Carry"]), ("SUNDAY", ["Quiet"]), ("bob", ["Quiet"]),
    ("macro-break", ["Macro Breakout"]), ("nothing like it", []),
])  # fmt: skip
def test_search_finds_name_address_text_and_provider(
    alice: Client, three: None, text: str, names: list[str]
) -> None:
    assert listed(alice, q=text) == names


def test_each_feed_has_the_figures_of_its_record(alice: Client, three: None) -> None:
    page = re.sub(r"<[^>]+>|\s+", " ", html_of(alice.get(PAGE)))
    page = re.sub(r" +", " ", page)
    assert "Result +12.50 % · largest drawdown 3.00 % · 40 signals · 7 followers" in page
    assert "Result −2.00 % · largest drawdown 9.00 % · 120 signals · fewer than 5 followers" in page
    assert "Its record has no figures yet." in page


def test_figures_of_a_feed_that_is_not_taken_are_those_of_a_day_ago(
    alice: Client, world: World
) -> None:
    with_record(world.breakout, "12.5", "3", 40, 7, delayed="11.75")
    with_record(world.carry, "-2", "9", 120, 4, delayed="12")
    page = html_of(alice.get(PAGE, {"sort": "result"}))
    assert re.findall(r"[+−][\d.]+(?= %)", page) == ["+12.50", "+12.00"]


def test_another_tenants_private_feed_is_not_listed(
    alice: Client, world: World, three: None
) -> None:
    Feed.objects.create(slug="secret", name="Secret", owner=world.bob, is_public=False)
    assert "Secret" not in listed(alice)
    assert listed(alice, q="secret") == []


def test_long_list_has_pages_and_few_queries(alice: Client, world: World) -> None:
    for number in range(60):
        feed = Feed.objects.create(slug=f"f{number}", name=f"Line {number:02}", owner=world.bob)
        with_record(feed, str(number), "1", 2, 5)
    with CaptureQueriesContext(connection) as queries:
        first = listed(alice, sort="result", q="line")
    ours = ("SAVEPOINT", "RELEASE", "SET ROLE", "RESET ROLE")
    read = [query["sql"] for query in queries if not query["sql"].startswith(ours)]
    assert len(read) <= 12, read
    assert first == [f"Line {number}" for number in range(59, 59 - A_PAGE, -1)]
    assert listed(alice, sort="result", q="line", page="3")[-1] == "Line 00"
    assert "q=line" in html_of(alice.get(PAGE, {"q": "line"}))  # the pager keeps the search
