"""Read the computed record of a feed.

with_new: for those who see at once what the feed publishes (`signals.records.selectors.sees_new`);
others see figures, curve and trades as they were 24 hours before the figures were computed
(`delayed_record.py`), so that all of them agree.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Case, F, JSONField, Q, QuerySet, Sum, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import TruncDate

from analytics.models import FeedRecord, FeedTrade
from analytics.records.delayed import as_it_was, had_ended
from analytics.records.figures import FEWEST, Figures, RecordTrade, from_json
from analytics.results.exports import CHUNK, Row
from common.clocks import market_now
from common.web.list_filters import before_row
from signals.models import Feed, Signal
from signals.records.results import seals_of
from signals.records.selectors import WITHHELD
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


def record_of(feed: Feed, *, with_new: bool) -> Record:
    """Return the figures of a feed's record, in one statement."""
    with for_all_tenants():
        stored = FeedRecord.objects.filter(pk=feed.pk).first()
    shown = stored and (stored.figures if with_new else stored.delayed)
    if not stored or not shown:
        return Record(Figures(), None, None, age_of(feed))
    followers = stored.followers if stored.followers >= FEWEST else None
    until = stored.until if with_new else stored.until - WITHHELD
    return Record(from_json(shown), until, followers, age_of(feed))


@dataclass(frozen=True, slots=True)
class FeedFigures:
    """What a list of feeds shows of a record. followers: None: fewer than FEWEST."""

    percent: Decimal
    drawdown_percent: Decimal
    closed: int
    signals: int
    followers: int | None


_FIGURES = ("percent", "drawdown_percent", "closed", "open", "not_entered", "unknown")


def figures_of_feeds(
    feed_ids: Collection[int], with_new: Collection[int]
) -> dict[int, FeedFigures]:
    """Return the stored figures of these feeds, in one statement; one without a record has none.

    Only for feeds whose records the reader may see. with_new: those of which they see all.
    """
    shown = Case(
        When(pk__in=with_new, then=F("figures")), default=F("delayed"), output_field=JSONField()
    )
    with for_all_tenants():
        records = FeedRecord.objects.filter(pk__in=feed_ids).annotate(shown=shown)
        records = records.exclude(shown={})
        stored = records.values_list(
            "feed_id", "followers", *(KeyTextTransform(name, "shown") for name in _FIGURES)
        )
        return {
            feed_id: FeedFigures(
                Decimal(percent), Decimal(drawdown), int(closed),
                sum(map(int, (closed, *others))), followers if followers >= FEWEST else None,
            )
            for feed_id, followers, percent, drawdown, closed, *others in stored
        }  # fmt: skip


def curve_of(feed: Feed, *, with_new: bool) -> list[tuple[date, Decimal]]:
    """Return the sum of the percents of closed trades at the end of each day on which some ended.

    UTC. It begins with nothing, a day before the first one.
    """
    with for_all_tenants():
        closed = FeedTrade.objects.filter(
            feed=feed, state=FeedTrade.State.CLOSED, percent__isnull=False
        )
        if not with_new:
            then = _delayed_until(feed)
            if then is None:
                return []
            closed = closed.filter(_ended_at(then), published_at__lt=then)
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


def _delayed_until(feed: Feed) -> datetime | None:
    """Return as of when others see a feed's record; None: not computed. Needs all tenants' rows."""
    computed = FeedRecord.objects.filter(pk=feed.pk).exclude(delayed={})
    until = computed.values_list("until", flat=True).first()
    return until - WITHHELD if until else None


def age_of(feed: Feed) -> timedelta:
    """Return how long ago a feed was made."""
    return max(market_now() - feed.created_at, timedelta(0))


def trades_of(feed: Feed, *, before: int | None, limit: int, with_new: bool) -> list[FeedTrade]:
    """Return a feed's trades, the newest publication first.

    before: the signal id of a trade, to go on with those published before it; None: the newest.
    """
    wanted = Q(feed=feed) if before is None else Q(feed=feed) & _published_before(feed, before)
    with for_all_tenants():
        newest = FeedTrade.objects.filter(wanted).order_by("-published_at", "-signal_id")
        if with_new:
            found = list(newest.defer("progress")[:limit])
        else:
            then = _delayed_until(feed)
            found = _as_they_were(newest, then, limit) if then else []
    seals = seals_of([trade.pk for trade in found if trade.is_final])
    for trade in found:
        trade.seal = seals.get(trade.pk)
    return found


def _as_they_were(
    trades: QuerySet[FeedTrade], at: datetime, limit: int | None = None
) -> list[FeedTrade]:
    """Return the first of the trades that were published then, as they were; None: all."""
    found = list(trades.filter(published_at__lt=at)[:limit])
    marks = _marks_until(at, [one.pk for one in found if not had_ended(one, at)])
    return [as_it_was(one, at, sorted(marks.get(one.pk, ()))) for one in found]


def _marks_until(at: datetime, ids: Sequence[int]) -> dict[int, set[str]]:
    """Return the marks of OPEN signals, and of what had changed them at an earlier time."""
    of_trades = Q(pk__in=ids) | Q(refers_to__in=ids)
    signals = Signal.objects.published().filter(of_trades, published_at__lte=at)
    found: dict[int, set[str]] = {}
    for pk, opened, marks in signals.values_list("pk", "refers_to_id", "marks"):
        found.setdefault(opened or pk, set()).update(marks)
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
    yield from _in_order(FeedTrade.objects.filter(feed_id=feed_id))


def in_order_then(feed_id: int, at: datetime) -> Iterator[RecordTrade]:
    """Yield them as they were at an earlier time. Needs all tenants' rows."""
    trades, ended = FeedTrade.objects.filter(feed_id=feed_id), _ended_at(at)
    yield from _in_order(trades.filter(ended, published_at__lt=at))
    for trade in _as_they_were(trades.exclude(ended), at):
        yield RecordTrade(*(getattr(trade, name) for name in RecordTrade._fields))


def _ended_at(at: datetime) -> Q:
    """Return what had ended at an earlier time, as `had_ended`."""
    return Q(is_final=True) | Q(ended_at__lte=at)


def _in_order(trades: QuerySet[FeedTrade]) -> Iterator[RecordTrade]:
    ordered = trades.order_by(F("ended_at").asc(nulls_last=True), "signal_id")
    for values in ordered.values_list(*RecordTrade._fields).iterator(chunk_size=5_000):
        yield RecordTrade(*values)
