"""The pages of a feed's record: for tenants, for its owner, and without sign-in."""

import json
import re
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from analytics.models import FeedRecord, FeedTrade
from analytics.records import figures as record_figures
from analytics.records.figures import RecordTrade, figures_of
from common.clocks import market_now
from common.db.sql import rows
from signals import services
from signals.models import Approval, Feed, FeedTerms, RecordStatus, Signal
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
D = Decimal
TWO_DAYS = timedelta(days=2)


@pytest.fixture
def alice(signed_in: SignedIn, world: World) -> Client:
    return signed_in(world.alice)


@pytest.fixture
def paula(signed_in: SignedIn, world: World) -> Client:
    return signed_in(world.paula)


def url(name: str, feed: Feed) -> str:
    return reverse(f"portal:{name}", args=[feed.slug])


def traded(feed: Feed, *, age: timedelta = TWO_DAYS, count: int = 1) -> list[Signal]:
    """Signals with their trades, and the feed's figures."""
    Feed.objects.filter(pk=feed.pk).update(is_approved=True)
    signals, now = [], market_now()
    for _ in range(count):
        signal = Signal.objects.create(
            feed=feed, currency_pair="EUR/USD", direction="BUY", approval=Approval.APPROVED,
            published_at=now - age,
        )  # fmt: skip
        signals.append(signal)
        FeedTrade.objects.create(
            signal=signal, feed=feed, pair="EUR/USD", direction="BUY", published_at=now - age,
            ended_at=now - age, state="CLOSED", basis="PRICES", percent=D("1.25"), r=D("0.5"),
            marks=["PRICE_MOVED"], progress={}, followed_until=now,
        )  # fmt: skip
    of_all = [
        RecordTrade(s.pk, "EUR/USD", now - age, now - age, "CLOSED", D("1.25"), D("0.5"),
                    ["PRICE_MOVED"], None, None, None, None)
        for s in signals
    ]  # fmt: skip
    figures = record_figures.to_json(figures_of(of_all))
    FeedRecord.objects.update_or_create(
        feed=feed,
        defaults={"until": now, "followers": 7, "figures": figures, "delayed": figures},
    )
    rows("SET CONSTRAINTS record_seal IMMEDIATE")
    return signals


@contextmanager
def web_role() -> Iterator[None]:
    """Work as the web process does: row-level security applies."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
        yield
        cursor.execute("RESET ROLE")


def test_record_shows_figures_until_when_and_definitions(alice: Client, world: World) -> None:
    traded(world.breakout)
    with web_role():
        text = alice.get(url("feed_record", world.breakout)).content.decode()
    for part in ("+1.25", "counted until", 'id="definitions"', "market was worse than the price",
                 "By pair", "no trade was closed by 5 persons or more"):  # fmt: skip
        assert part in text, part
    feeds = alice.get(reverse("portal:feeds")).content.decode()
    assert url("feed_record", world.breakout) in feeds


def test_others_read_what_is_withheld_from_them(alice: Client, world: World) -> None:
    sentence = "UTC; the last 24 hours are for subscribers"
    for feed, is_shown in ((world.breakout, False), (world.carry, True)):
        traded(feed)
        words = " ".join(alice.get(url("feed_record", feed)).content.decode().split())
        assert (sentence in words) == is_shown
        assert "Everybody else sees the record of 24 hours ago" in words


def test_empty_record_says_so(alice: Client, world: World) -> None:
    quiet = Feed.objects.create(slug="quiet", name="Quiet", owner=world.paula)
    text = alice.get(url("feed_record", quiet)).content.decode()
    assert "No figures yet" in text
    assert "No trades" in text
    assert "No links" in alice.get(url("feed_proof", quiet)).content.decode()


def test_new_signals_are_shown_to_subscribers_only(alice: Client, world: World) -> None:
    (taken,) = traded(world.breakout, age=timedelta(0))
    (foreign,) = traded(world.carry, age=timedelta(0))
    for name, shown in (("feed_record", "Buy EUR/USD"), ("feed_proof", "Open S-")):
        assert shown in alice.get(url(name, world.breakout)).content.decode()
        text = alice.get(url(name, world.carry)).content.decode()
        assert not re.search(rf"S-{foreign.pk}\b", text)
    assert "withheld for 24 hours" in text
    assert taken.pk != foreign.pk


def test_visitors_see_a_record_only_if_the_owner_shows_it(
    client: Client, alice: Client, paula: Client, world: World
) -> None:
    feed, page = world.breakout, url("public_record", world.breakout)
    traded(feed)
    assert client.get(page).status_code == 404
    api = reverse("feed-record", args=[feed.slug])
    assert client.get(api).status_code == 401
    alice.post(url("feed_record_show", feed), {"shown": "on"})
    assert client.get(page).status_code == 404  # she may not
    paula.post(url("feed_record_show", feed), {"shown": "on"})
    FeedTerms.objects.create(feed=feed, text="Mondays only.", changed_by=world.breakout.owner)
    with web_role():
        assert "Mondays only." in client.get(page).content.decode()
        assert client.get(api).json()["terms"] == "Mondays only."
        assert "+1.25" in client.get(page).content.decode()
        assert client.get(url("public_proof", feed)).status_code == 200
        data = client.get(api).json()
    assert (D(data["percent"]), data["closed"], data["followers"]) == (D("1.25"), 1, 7)
    links = client.get(reverse("feed-record-links", args=[feed.slug])).json()
    assert links["links"][-1]["content"] is None  # it was sealed just now
    Feed.objects.filter(pk=feed.pk).update(is_public=False)
    assert client.get(page).status_code == 404


def test_broken_record_is_shown_as_broken(alice: Client, world: World) -> None:
    RecordStatus.objects.create(
        feed=world.breakout, verified_at=market_now(), number=3, findings="Link 3 is missing."
    )
    for name in ("feed_record", "feed_proof"):
        assert 'role="alert"' in alice.get(url(name, world.breakout)).content.decode()
    assert "Link 3 is missing." in alice.get(url("feed_proof", world.breakout)).content.decode()


def test_pages_of_a_long_record_take_few_statements(alice: Client, world: World) -> None:
    signals = traded(world.breakout, count=60)
    for name in ("feed_record", "feed_proof"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            text = alice.get(url(name, world.breakout)).content.decode()
        reads = [q for q in queries.captured_queries if "set_config" not in q["sql"]
                 and "SAVEPOINT" not in q["sql"]]  # fmt: skip
        assert len(reads) <= 12
    assert "Later links" in text
    oldest = alice.get(url("feed_record", world.breakout), {"before": signals[1].pk})
    assert f"S-{signals[0].pk}" in oldest.content.decode()
    assert not re.search(rf"S-{signals[1].pk}\b", oldest.content.decode())


def test_trades_are_in_the_order_of_their_publication(alice: Client, world: World) -> None:
    """A draft is numbered when it is written; its record shows when it was published."""
    first, second, third = traded(world.breakout, count=3)
    later = market_now() + timedelta(minutes=1)
    FeedTrade.objects.filter(pk=first.pk).update(published_at=later)

    def order_of(**query: Any) -> list[int]:
        answer: Any = alice.get(url("feed_record", world.breakout), query)
        return [one.pk for one in answer.context_data["trades"]]

    assert order_of() == [first.pk, third.pk, second.pk]
    assert order_of(before=first.pk) == [third.pk, second.pk]
    assert order_of(before=third.pk) == [second.pk]


def test_cancelled_signal_is_a_link_of_the_proof(alice: Client, world: World) -> None:
    (signal,) = traded(world.breakout)
    services.cancel(signal.pk, by=None)
    rows("SET CONSTRAINTS record_seal IMMEDIATE")
    assert f"Cancel S-{signal.pk}" in alice.get(url("feed_proof", world.breakout)).content.decode()


def test_record_has_its_curve_and_its_trades_as_files(alice: Client, world: World) -> None:
    traded(world.breakout, age=timedelta(days=5), count=2)
    FeedTrade.objects.filter(feed=world.breakout).order_by("pk").first().delete()  # type: ignore[union-attr]
    (old,) = FeedTrade.objects.filter(feed=world.breakout)
    (new,) = traded(world.breakout)
    with web_role():
        page = alice.get(url("feed_record", world.breakout)).content.decode()
        assert "Result of closed trades by day, added up: +2.50 %." in page
        files = reverse("feed-record-trades", args=[world.breakout.slug])
        for kind in ("csv", "ndjson"):
            assert f'href="{files}?format={kind}"' in page
        lines = b"".join(alice.get(files, {"format": "csv"}).streaming_content).decode()  # type: ignore[attr-defined]
        head, first, second = lines.splitlines()
        assert head.startswith("\ufeffsignal,pair,direction,published_at,ended_at,state,basis,")
        assert first.startswith(f"S-{new.pk},EUR/USD,BUY,")
        assert second.startswith(f"S-{old.pk},EUR/USD,BUY,")
        objects = b"".join(alice.get(files, {"format": "ndjson"}).streaming_content)  # type: ignore[attr-defined]
    last = json.loads(objects.splitlines()[-1])
    assert (last["signal"], last["percent"], last["marks"]) == (
        f"S-{old.pk}",
        "1.25",
        "PRICE_MOVED",
    )


def test_files_of_a_record_hide_new_trades_from_visitors(client: Client, world: World) -> None:
    """`carry` is shown to everybody; breakout is not."""
    (new,) = traded(world.carry, age=timedelta(0))
    with web_role():
        answer = client.get(reverse("feed-record-trades", args=["kiwi-carry"]), {"format": "csv"})
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        hidden = client.get(
            reverse("feed-record-trades", args=["macro-breakout"]), {"format": "csv"}
        )
    assert hidden.status_code == 401
    assert len(text.splitlines()) == 1
    assert not re.search(rf"S-{new.pk}\b", text)


def test_sealed_and_corrected_results_are_named(alice: Client, world: World) -> None:
    (signal,) = traded(world.breakout)
    FeedTrade.objects.filter(pk=signal.pk).update(is_final=True)
    rows("SELECT set_config('fillcast.correction', 'A wrong price.', true)")
    FeedTrade.objects.filter(pk=signal.pk).update(percent=D("0.75"))
    rows("SET CONSTRAINTS record_seal IMMEDIATE")
    with web_role():
        page = alice.get(url("feed_record", world.breakout)).content.decode()
        proof = alice.get(url("feed_proof", world.breakout)).content.decode()
        trades = alice.get(reverse("feed-record-trades", args=[world.breakout.slug])).json()
    (trade,) = trades["trades"]
    (last,) = rows("SELECT links FROM signals_recordhead WHERE feed_id = %s", [signal.feed_id])
    assert (trade["sealed_in"], trade["correction"]) == (last.links, "A wrong price.")
    assert f"sealed in link {last.links}" in " ".join(page.split())
    assert "corrected: A wrong price." in page
    assert "Result S-" in proof
    assert "A wrong price." in proof


def test_script_compares_what_the_api_gives(alice: Client, world: World) -> None:
    """The script's own functions, on the answers of the API: all kinds of values agree."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "verify_feed.py"))
    (signal,) = traded(world.breakout)
    FeedTrade.objects.filter(pk=signal.pk).update(
        is_final=True, entry_price=D("1.10000"), subscribers=6, real_median=D("0.5"), marks=[]
    )
    rows("SET CONSTRAINTS record_seal IMMEDIATE")

    def answers(name: str) -> Any:
        address = reverse(f"feed-record-{name}", args=[world.breakout.slug])
        return alice.get(address, {"limit": 500}).json()[name]

    links = answers("links")
    assert links[-1]["kind"] == "RESULT"
    assert script["verify"](links)[0] == []
    assert script["verify_results"](links, answers("trades")) == ([], [])
    FeedTrade.objects.filter(pk=signal.pk).update(entry_price=D("1.2"))
    (finding,), _ = script["verify_results"](links, answers("trades"))
    assert finding.endswith("seals: entry_price.")
