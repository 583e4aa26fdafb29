"""Find the trade that an update without a reference can only be about, at the time of its sending.

A message that says “close half” is about the trade that was open when its sender wrote it. It can
arrive when that trade has ended and another is open, so the trades of that time count, not those of
now. Called in the alert's transaction, on behalf of the feed's owner; times are market time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from alerts.models import AlertSource, IncomingAlert
from alerts.reading import AlertOrder, AlertSignal, AlertUpdate, Dialect
from common.clocks import market_at
from common.db.sql import rows
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.effective_levels import ids_with_levels
from signals.models import Action, Direction, Feed, OrderType, Signal
from signals.open_signals import all_open_signals, closed_by_feed, open_signals
from signals.reading.draft import SignalDraft
from signals.reading.ends import REPLAY_WINDOW
from signals.symbol_completion import Closing, resolve_pair
from users.tenancy import for_all_tenants

_SHOWN = 5
_SIDES = {None: "", Direction.BUY: " long", Direction.SELL: " short"}
# Which signals have lost their last position on an account since a time; the app that trades
# registers it: SQL for ids, with the parameters feed and since.
_ended_sources: list[str] = []
# Whether an entry of a signal has filled on any account; the app that trades registers it.
_filled_sources: list[str] = []
_REMEMBERED = timedelta(days=1)
_CANCELLED_WITHIN = timedelta(days=7)  # of its publication, so that an index finds it
_UNFILLED = """
SELECT s.id FROM signals_signal s WHERE s.feed_id = %(feed)s AND s.action = 'OPEN'
  AND s.published_at > %(day)s AND s.cancelled_at IS NULL AND NOT ({filled})
"""


def register_ended_trades(source: str) -> None:
    """Add a SELECT of signal ids (`id`) that ended at brokers; parameters: feed, since."""
    _ended_sources.append(source)


def register_filled_signals(source: str) -> None:
    """Add an SQL condition: an entry of the row `s` of signals_signal has filled somewhere."""
    _filled_sources.append(source)


def has_filled(trade: Signal) -> bool:
    """Whether an entry of a trade has filled on any account."""
    if not _filled_sources:
        return False
    conditions = " OR ".join(_filled_sources)
    with for_all_tenants():
        found = rows(
            f"SELECT 1 AS one FROM signals_signal s WHERE s.id = %s AND ({conditions})", (trade.pk,)
        )
    return bool(found)


@dataclass(frozen=True, slots=True)
class Moment:
    """When an update was sent. sent_at: if that is known; else it arrived at received_at, and may
    have been on its way for REPLAY_WINDOW."""

    sent_at: datetime | None
    received_at: datetime

    @property
    def since(self) -> datetime:
        """The earliest time at which it may have been sent."""
        return self.sent_at or self.received_at - REPLAY_WINDOW


def moment_of(
    update: AlertUpdate, *, received_at: datetime, written_at: datetime | None = None
) -> Moment:
    """Return when an update was sent. received_at, written_at: machine time; the latter is what a
    chat states."""
    sent_at = update.sent_at or (market_at(written_at) if written_at else None)
    return Moment(sent_at, market_at(received_at))


def only_trade(feed: Feed, update: AlertUpdate, moment: Moment) -> Signal:
    """Return the one trade that an update can be about. In a transaction.

    Trades that the feed had closed before it was sent do not count. Raises InvalidInputError
    ALERT_WITHOUT_TRADE; ALERT_AMBIGUOUS if several were open then, if another has ended since, or
    if the trade was opened after it was sent.
    """
    pair = update.pair
    if pair:
        pair = resolve_pair(feed, pair, field="symbol", closing=Closing(update.side))
    with for_all_tenants():
        found = (
            open_signals(feed.pk, pair, update.side)
            if pair
            else all_open_signals(feed.pk, update.side)
        )
    ids = {signal.id for signal in found}
    trades = list(Signal.objects.filter(pk__in=ids - closed_by_feed(ids)).order_by("pk"))
    where = f" in {pair}" if pair else ""
    if not trades:
        detail = f"The feed has no open{_SIDES[update.side]} trade{where} that this could be about."
        raise InvalidInputError(Code.ALERT_WITHOUT_TRADE, detail, field="symbol")
    if len(trades) > 1:
        raise _ambiguous(_candidates(trades, where))
    (trade,) = trades
    if ended := _ended_since(feed, pair, update.side, moment, but=trade):
        raise _ambiguous(_late(moment, trade, ended))
    if moment.sent_at is not None and _opened_at(trade, moment.sent_at) > moment.sent_at:
        raise _ambiguous(_late(moment, trade, []))
    return trade


def require_another_trade(feed: Feed, alert: AlertSignal, draft: SignalDraft) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for an entry whose levels may be an open trade's.

    draft: the entry with its pair. “BUY GOLD SL 2338” may move the stop of the one that is open;
    “BUY GOLD @ 2345 SL 2338 TP 2350” after “BUY GOLD NOW” may state the levels that one lacks.
    """
    has_levels = draft.sl is not None or draft.targets or alert.distances
    if alert.dialect is not Dialect.TEXT or not has_levels:
        return
    with for_all_tenants():
        found = open_signals(feed.pk, draft.pair, draft.direction)
    if not found:
        return
    ids = {signal.id for signal in found}
    trades = list(Signal.objects.filter(pk__in=ids - closed_by_feed(ids)).order_by("pk"))
    with_levels = ids_with_levels(ids)
    meant = [one for one in trades if alert.levels_alone or one.pk not in with_levels]
    if meant:
        raise _ambiguous(
            f"It could open a second trade, or state the levels of {_named(meant)}. Write “move SL "
            "to …” and “move TP to …” for that one; a second trade is sent with its price or “now” "
            "once the first has its levels."
        )


def waiting_reversal_error(order: AlertOrder) -> InvalidInputError | None:
    """Return the error for an object that closes the other side, which is open, and opens at a
    price; None: it is clear. In our own JSON it is: the strategy's position has been reversed.
    """
    opening = order.opening
    if order.dialect not in (Dialect.ORDER_OBJECT, Dialect.STRATEGY_OBJECT) or opening is None:
        return None
    if opening.order_type == OrderType.MARKET:
        return None
    detail = (
        "A reversal at a price could mean a close of the open trade now, or one when the price is "
        "there. Send the close first and then the entry, or leave orderType and its price out."
    )
    return InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="orderType")


def _ambiguous(detail: str) -> InvalidInputError:
    return InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="symbol")


def _candidates(trades: list[Signal], where: str) -> str:
    return (
        f"The feed has {len(trades)} open trades{where}; this could be about {_named(trades)}. "
        "Name the symbol and the side, or send JSON with refers_to."
    )


def _named(trades: list[Signal]) -> str:
    shown = ", or ".join(f"{trade.number} ({trade})" for trade in trades[:_SHOWN])
    return shown + (f" or {len(trades) - _SHOWN} more" if len(trades) > _SHOWN else "")


def _late(moment: Moment, trade: Signal, ended: list[Signal]) -> str:
    """Return both readings of a message that may be older than the trade that is open now."""
    now = f"{trade.number} ({trade}), which is open now"
    write = "Answer the trade's message, or send JSON with refers_to."
    if not ended:
        return (
            f"It was sent at {moment.since:%H:%M:%S} UTC, before {trade.number} was opened: it "
            f"could be about a trade that has ended, or {now}. {write}"
        )
    when = (
        f"when it was sent, at {moment.since:%H:%M:%S} UTC"
        if moment.sent_at
        else "within the last minutes"
    )
    return (
        f"It could be about {_named(ended)}, which its sender may have had open {when}, or {now}. "
        f"{write}"
    )


def _ended_since(
    feed: Feed, pair: str, side: Direction | None, moment: Moment, *, but: Signal
) -> list[Signal]:
    """Return the trades that fit, and have ended since the update may have been sent."""
    since = moment.since
    closes = feed.signals.filter(
        action=Action.CLOSE, close_fraction=1, published_at__gt=since, refers_to__isnull=False
    )
    ids = {
        close.refers_to_id
        for close in closes
        if moment.sent_at is None or sent_time(close) > moment.sent_at
    }
    ids |= ended_at_brokers(feed, since) | _unfilled(feed, since)
    ended = Q(pk__in=ids) | Q(cancelled_at__gt=since, published_at__gt=since - _CANCELLED_WITHIN)
    found = feed.signals.filter(
        ended, action=Action.OPEN, published_at__isnull=False
    ).exclude(pk=but.pk)  # fmt: skip
    found = found.filter(currency_pair=pair) if pair else found
    found = found.filter(direction=side) if side else found
    trades = list(found.order_by("pk"))
    over = _closed_before(trades, since)
    trades = [one for one in trades if one.pk not in over]
    if moment.sent_at is None:
        return trades
    return [one for one in trades if _opened_at(one, moment.sent_at) <= moment.sent_at]


def ended_at_brokers(feed: Feed, since: datetime) -> set[int]:
    """Return the ids of trades that lost a position on an account: by a stop, a target, by hand."""
    with for_all_tenants():
        return {
            row.id
            for source in _ended_sources
            for row in rows(source, {"feed": feed.pk, "since": since})
        }


def _unfilled(feed: Feed, since: datetime) -> set[int]:
    """Return the ids of trades of the last day that no account has: their sender may not know."""
    if not _filled_sources:
        return set()
    statement = _UNFILLED.format(filled=" OR ".join(_filled_sources))
    with for_all_tenants():
        found = rows(statement, {"feed": feed.pk, "day": since - _REMEMBERED})
    return {row.id for row in found}


def _closed_before(trades: list[Signal], since: datetime) -> set[int]:
    """Return the ids of trades that the feed had closed before: only their accounts lagged."""
    found = Signal.objects.filter(
        refers_to__in=[one.pk for one in trades], action=Action.CLOSE, close_fraction=1,
        published_at__lte=since,
    )  # fmt: skip
    return {close.refers_to_id for close in found if close.refers_to_id is not None}


def _opened_at(trade: Signal, sent_at: datetime) -> datetime:
    """Return when a trade's entry was sent, or an early enough time to compare with sent_at."""
    if trade.published_at is not None and trade.published_at <= sent_at:
        return trade.published_at
    return sent_time(trade)


def opened_after(ids: list[int], sent_at: datetime) -> set[int]:
    """Return the ids among these of trades that were opened after a time."""
    trades = Signal.objects.filter(pk__in=ids)
    return {trade.pk for trade in trades if _opened_at(trade, sent_at) > sent_at}


def sent_time(signal: Signal) -> datetime:
    """Return when a signal was sent, as its sender's clock or chat states; else published."""
    if signal.sent_at is not None:
        return signal.sent_at
    posted = IncomingAlert.objects.filter(
        feed_id=signal.feed_id, source=AlertSource.TELEGRAM, signal_ids__contains=[signal.pk]
    ).first()
    if posted is not None:
        return market_at(posted.received_at)
    return signal.published_at or signal.created_at
