"""Read the computed record of a feed."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Q, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import TruncDate

from analytics.exports import CHUNK, Row
from analytics.models import FeedRecord, FeedTrade
from analytics.record_figures import FEWEST, Figures, RecordTrade, from_json
from common.clocks import market_now
from common.list_filters import before_row
from signals.models import Feed
from signals.record_results import seals_of
from signals.record_selectors import WITHHELD
from users.tenancy import for_all_tenants


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of a feed. until: later prices and signals are not in them; None: not computed.

    followers: None: fewer than FEWEST. age: since the feed was made.
    """

    figures: Figures
    until: datetime | None
    followers: int | None
    age: timedelta


def record_of(feed: Feed) -> Record:
    """Return the figures of a feed's record, in one statement."""
    with for_all_tenants():
        stored = FeedRecord.objects.filter(pk=feed.pk).first()
    if stored is None:
        return Record(Figures(), None, None, age_of(feed))
    followers = stored.followers if stored.followers >= FEWEST else None
    return Record(from_json(stored.figures), stored.until, followers, age_of(feed))


@dataclass(frozen=True, slots=True)
class FeedFigures:
    """What a list of feeds shows of a record. followers: None: fewer than FEWEST."""

    percent: Decimal
    drawdown_percent: Decimal
    closed: int
    signals: int
    followers: int | None


_FIGURES = ("percent", "drawdown_percent", "closed", "open", "not_entered", "unknown")


def figures_of_feeds(feed_ids: Collection[int]) -> dict[int, FeedFigures]:
    """Return the stored figures of these feeds, in one statement; one without a record has none.

    Only for feeds whose records the reader may see.
    """
    with for_all_tenants():
        stored = FeedRecord.objects.filter(pk__in=feed_ids).values_list(
            "feed_id", "followers", *(KeyTextTransform(name, "figures") for name in _FIGURES)
        )
        return {
            feed_id: FeedFigures(
                Decimal(percent), Decimal(drawdown), int(closed),
                sum(map(int, (closed, *others))), followers if followers >= FEWEST else None,
            )
            for feed_id, followers, percent, drawdown, closed, *others in stored
        }  # fmt: skip


def curve_of(feed: Feed) -> list[tuple[date, Decimal]]:
    """Return the sum of the percents of closed trades at the end of each day on which some ended.

    UTC. It begins with nothing, a day before the first one.
    """
    with for_all_tenants():
        closed = FeedTrade.objects.filter(
            feed=feed, state=FeedTrade.State.CLOSED, percent__isnull=False
        )
        by_day = closed.annotate(day=TruncDate("ended_at", tzinfo=UTC)).values_list("day")
        days = list(by_day.annotate(total=Sum("percent")).order_by("day"))
    points: list[tuple[date, Decimal]] = []
    total = Decimal(0)
    for day, value in days:
        if not points:
            points.append((day - timedelta(days=1), total))
        total += value
        points.append((day, total))
    return points


def age_of(feed: Feed) -> timedelta:
    """Return how long ago a feed was made."""
    return max(market_now() - feed.created_at, timedelta(0))


def trades_of(feed: Feed, *, before: int | None, limit: int, with_new: bool) -> list[FeedTrade]:
    """Return a feed's trades, the newest publication first.

    before: the signal id of a trade, to go on with those published before it; None: the newest.
    with_new: also those published in the last 24 hours.
    """
    wanted = Q(feed=feed)
    if before is not None:
        wanted &= _published_before(feed, before)
    if not with_new:
        wanted &= Q(published_at__lt=market_now() - WITHHELD)
    with for_all_tenants():
        newest = FeedTrade.objects.filter(wanted).order_by("-published_at", "-signal_id")
        found = list(newest.defer("progress")[:limit])
    seals = seals_of([trade.pk for trade in found if trade.is_final])
    for trade in found:
        trade.seal = seals.get(trade.pk)
    return found


def _published_before(feed: Feed, signal_id: int) -> Q:
    """Return what was published before a trade. Before one that is not the feed's there is none."""
    with for_all_tenants():
        last = FeedTrade.objects.filter(feed=feed, pk=signal_id)
        at = last.values_list("published_at", flat=True).first()
    if at is None:
        return Q(pk__in=())
    return before_row("published_at", at, signal_id)


TRADE_COLUMNS = (
    "signal", "pair", "direction", "published_at", "ended_at", "state", "basis", "entry_price",
    "exit_price", "percent", "r", "marks", "subscribers", "real_low", "real_median", "real_high",
    "slippage", "sealed_in", "correction",
)  # fmt: skip
"""The columns of a record's trades as a file: the fields that the API has."""


def trade_rows(feed: Feed, *, with_new: bool) -> Iterator[Row]:
    """Return all trades that `trades_of` lists, the header first, in transactions of their own."""
    yield TRADE_COLUMNS
    last: FeedTrade | None = None
    while True:
        with transaction.atomic():
            before = last.pk if last else None
            trades = trades_of(feed, before=before, limit=CHUNK, with_new=with_new)
        if last and trades and _key(trades[0]) >= _key(last):
            return  # the last one was removed meanwhile, and this is the newest again
        for trade in trades:
            values = {name: getattr(trade, name) for name in TRADE_COLUMNS if name != "signal"}
            values |= {"signal": f"S-{trade.pk}", "marks": " ".join(trade.marks)}
            yield [values[name] for name in TRADE_COLUMNS]
        if len(trades) < CHUNK:
            return
        last = trades[-1]


def _key(trade: FeedTrade) -> tuple[datetime, int]:
    """Return what `trades_of` orders by."""
    return trade.published_at, trade.pk


def in_order(feed_id: int) -> Iterator[RecordTrade]:
    """Yield all trades of a feed in the order in which they ended. Needs all tenants' rows."""
    found = FeedTrade.objects.filter(feed_id=feed_id)
    ordered = found.order_by(F("ended_at").asc(nulls_last=True), "signal_id")
    for values in ordered.values_list(*RecordTrade._fields).iterator(chunk_size=5_000):
        yield RecordTrade(*values)
