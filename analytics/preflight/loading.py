"""Load what a replay needs: the account as it is now, the feed's signals, the prices of then."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db.models import QuerySet

from analytics.models import FeedTrade
from analytics.preflight.courses import course_of
from analytics.preflight.outcome import Case
from analytics.preflight.prices import Basis, Market, PriceHistory
from analytics.preflight.replay import Setting
from analytics.preflight.replay_rows import Terms, replay_rows
from analytics.records.delayed import as_it_was
from brokers.registry import capabilities_of
from brokers.types import ConnectionSpec
from common.clocks import market_now
from common.operational.current import settings_now
from connections.models import AccountSnapshot, ExecutionConnection
from connections.selectors import AppliedLimit, limits_of
from execution.preview import signal_row
from execution.submission.bundle_evaluation import instruments_of
from execution.submission.quotes import pairs_priced
from execution.submission.rows import OrderRow, SignalRow
from prices.bars import KEPT
from prices.selectors import latest, minute_bars
from signals.models import Action, Feed, Signal
from signals.records.selectors import WITHHELD, sees_new

_EARLIER = timedelta(minutes=10)  # for the last price before a signal


class Loaded(NamedTuple):
    """The input of a replay."""

    cases: list[Case]
    setting: Setting


def load(connection: ExecutionConnection, feed_id: int, terms: Terms, wanted: int) -> Loaded:
    """Return the feed's last `wanted` OPEN signals for this account. Needs all tenants' rows.

    What was published in the last day counts only for subscribers, as in the feed's record: its
    OPENs, and what changed earlier ones. Else a replay every minute would be a subscription that
    its provider does not see.
    """
    until = market_now()
    feed = Feed.objects.get(pk=feed_id)
    known_until = until if sees_new(feed, connection.user) else until - WITHHELD
    opened = Signal.objects.published().filter(feed_id=feed_id, action=Action.OPEN)
    signals = _opened_until(known_until, opened, wanted)
    rows = replay_rows(connection.pk, connection.instrument_book, signals, terms)
    published = {one.pk: as_published(one) for one in signals}
    history = _history(connection, rows, signals, pairs_priced(rows, published), until)
    followers = _followers(signals, known_until)
    recorded = FeedTrade.objects.filter(pk__in=[one.pk for one in signals])
    trades = {one.pk: as_it_was(one, known_until) for one in recorded}
    cases = [
        Case(
            one, row, published[one.pk],
            course_of(
                one, row.pair, followers.get(one.pk, []), history, trades.get(one.pk), until
            ),
        )
        for one, row in zip(signals, rows, strict=True)
    ]  # fmt: skip
    account = AccountSnapshot.objects.filter(connection=connection).first()
    return Loaded(
        cases,
        Setting(
            currency=account.currency if account else "",
            balance=account.balance if account else Decimal(0),
            leverage=account.leverage if account else Decimal(1),
            capabilities=capabilities_of(connection.type, _spec(connection)),
            instruments=instruments_of(rows),
            history=history,
            limits=_limits(connection, feed_id),
            until=until,
            market_entry_max_age_seconds=settings_now().execution.market_entry_max_age_seconds,
            order_defaults=settings_now().order_defaults,
            withheld=opened.filter(published_at__gt=known_until).count(),
        ),
    )


def as_published(signal: Signal) -> SignalRow:
    """Return a signal as the claim saw it at its publication, before what changed it later.

    The feed's limit over all accounts is left out: a replay knows only one of them.
    """
    assert signal.published_at is not None
    row = signal_row(signal, signal.published_at)
    return row._replace(cancelled_at=None, max_signal_notional=None)


def _spec(connection: ExecutionConnection) -> ConnectionSpec:
    """Return the spec without credentials: it is enough for the capabilities."""
    return ConnectionSpec(
        connection_id=str(connection.pk), account=connection.account,
        exchange_name=connection.exchange_name, settings=connection.settings,
    )  # fmt: skip


def _opened_until(known_until: datetime, opened: QuerySet[Signal], wanted: int) -> list[Signal]:
    """Return the last of these signals, the oldest first, not cancelled by what came later."""
    shown = opened.filter(published_at__lte=known_until)
    newest = shown.select_related("feed").order_by("-published_at", "-pk")[:wanted]
    signals = sorted(newest, key=lambda one: (one.published_at, one.pk))
    for one in signals:
        if one.cancelled_at is not None and one.cancelled_at > known_until:
            one.cancelled_at = None  # not saved
    return signals


def _followers(signals: Sequence[Signal], known_until: datetime) -> dict[int, list[Signal]]:
    found: dict[int, list[Signal]] = {}
    followers = Signal.objects.published().filter(
        refers_to__in=[one.pk for one in signals], published_at__lte=known_until
    )
    for one in followers.order_by("published_at", "pk"):
        found.setdefault(one.refers_to_id or 0, []).append(one)
    return found


def _history(
    connection: ExecutionConnection,
    rows: Sequence[OrderRow],
    signals: Sequence[Signal],
    pairs: Sequence[str],
    until: datetime,
) -> PriceHistory:
    """Read the minute bars of the account's source, from the first signal of each pair on."""
    source = connection.data_connection_id
    if source is None or not signals:
        return PriceHistory({})
    first = signals[0].published_at or until
    starts: dict[str, datetime] = {}
    for row, one in zip(rows, signals, strict=True):
        starts.setdefault(row.pair, one.published_at or until)
    bars = {
        pair: minute_bars(
            source, pair, since=max(starts.get(pair, first), until - KEPT) - _EARLIER, before=until
        )
        for pair in pairs
    }
    now = {
        pair: Market(quote.bid, quote.ask, Basis.RECORDED)
        for pair, quote in latest(source, pairs).items()
    }
    return PriceHistory(bars, now)


def _limits(connection: ExecutionConnection, feed_id: int) -> list[AppliedLimit]:
    """Return the account's loss limits, and those of this feed on it."""
    return [one for one in limits_of([connection.pk]) if one.feed_id in (None, feed_id)]
