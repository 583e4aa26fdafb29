"""Carry out an update of the one trade that a feed has open: move its stop, close a part, cancel.

Called in the alert's transaction, on behalf of the feed's owner. A message without a reference is
only about a trade if the feed has one that fits; else it is refused, with the candidates.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from common.errors import ConflictError, InvalidInputError
from common.money import plain
from common.reason_codes import Code
from common.sql import rows
from signals import services
from signals.alert_dialects import AlertUpdate
from signals.alert_sequence import lock_alert_order
from signals.draft import SignalDraft
from signals.ingest import REPLAY_WINDOW, save_draft
from signals.models import (
    AT_MARKET_FROM_STOP,
    Action,
    Direction,
    Feed,
    Origin,
    ReceivedAlert,
    Signal,
    TelegramMessage,
)
from signals.open_signals import all_open_signals, closed_by_feed, open_signals
from signals.symbol_completion import Closing, resolve_pair
from users.tenancy import for_all_tenants

_SHOWN = 5
# Whether an entry of a signal has filled on any account; the app that trades registers it.
_filled_sources: list[str] = []


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """The signals that an update published, and what it did, in a sentence."""

    signals: tuple[Signal, ...]
    is_new: bool
    summary: str


def register_filled_signals(source: str) -> None:
    """Add an SQL condition: an entry of the row `s` of signals_signal has filled somewhere."""
    _filled_sources.append(source)


def carry_out_update(
    feed: Feed,
    update: AlertUpdate,
    *,
    received_at: datetime,
    reply_to: str = "",
    is_own_message: bool = False,
) -> UpdateResult:
    """Publish what an update says about the feed's only open trade; once within REPLAY_WINDOW.

    received_at: when it arrived; it may have waited since. reply_to: the message that it answers;
    it is then about that message's trade, however many are open. is_own_message: its door knows
    that it is no repetition.

    Raises InvalidInputError ALERT_WITHOUT_TRADE, ALERT_AMBIGUOUS (several trades, or a cancel of
    one that has filled), PRICE_REQUIRED (break-even of a trade without a price), and what
    `save_draft` and `publish` raise; ConflictError.
    """
    if reply_to:  # the same words about two trades are two updates
        key = hashlib.sha256(f"{update.key} {reply_to}".encode()).hexdigest()
        update = replace(update, key=key)
    lock_alert_order(feed, update.pair)
    known = None if is_own_message else _received_before(feed, update, received_at)
    if known and _is_repetition(feed, update, known, reply_to):
        signals = tuple(Signal.objects.filter(pk__in=known.signal_ids).order_by("pk"))
        return UpdateResult(signals, False, known.summary)
    trade = replied_trade(feed, update, reply_to) if reply_to else only_trade(feed, update)
    sent_at = update.sent_at or received_at
    name = f"alert:{update.key[:32]}:{int(sent_at.timestamp())}:{trade.pk}"
    signals = tuple(
        _published(feed, draft, f"{name}:{number}")
        for number, draft in enumerate(drafts_of(trade, update), 1)
    )
    summary = f"{described(trade, update)}."
    ReceivedAlert.objects.create(
        feed=feed, key=update.key, pair=trade.currency_pair, change="update", summary=summary[:300],
        sent_at=update.sent_at, received_at=received_at,
        signal_ids=[signal.pk for signal in signals],
    )  # fmt: skip
    return UpdateResult(signals, True, summary)


def _is_repetition(feed: Feed, update: AlertUpdate, known: ReceivedAlert, reply_to: str) -> bool:
    """Whether an update is the known message again. Without a time, the same words about another
    trade are a second message or the first one, late: raises InvalidInputError ALERT_AMBIGUOUS."""
    if update.sent_at is not None or reply_to:
        return True
    try:
        trade = only_trade(feed, update)
    except InvalidInputError as error:
        if error.code == Code.ALERT_WITHOUT_TRADE:  # the first one has closed it
            return True
        raise
    if Signal.objects.filter(pk__in=known.signal_ids, refers_to=trade).exists():
        return True
    detail = (
        f"The same words came at {known.received_at:%H:%M:%S} UTC ({known.summary}) This could be "
        f"that message again, or be about {trade.number}. Add the time of sending, or the symbol."
    )
    raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="time")


def _received_before(
    feed: Feed, update: AlertUpdate, received_at: datetime
) -> ReceivedAlert | None:
    """Return the same message of the last minutes; with its time, of any time."""
    same = ReceivedAlert.objects.filter(feed=feed, key=update.key)
    if update.sent_at is None:
        same = same.filter(received_at__gt=received_at - REPLAY_WINDOW)
    return same.order_by("-id").first()


def only_trade(feed: Feed, update: AlertUpdate) -> Signal:
    """Return the one trade that an update can be about. In a transaction.

    Trades that the feed has closed do not count. Raises InvalidInputError.
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
        side = {None: "", Direction.BUY: " long", Direction.SELL: " short"}[update.side]
        detail = f"The feed has no open{side} trade{where} that this could be about."
        raise InvalidInputError(Code.ALERT_WITHOUT_TRADE, detail, field="symbol")
    if len(trades) > 1:
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, _candidates(trades, where), field="symbol")
    _require_clear_cancel(trades[0], update)
    return trades[0]


def replied_trade(feed: Feed, update: AlertUpdate, message_key: str) -> Signal:
    """Return the open trade of the message that an update answers. In a transaction.

    Raises InvalidInputError ALERT_WITHOUT_TRADE, ALERT_AMBIGUOUS (it names another symbol or side).
    """
    trade = trade_of_message(feed, message_key)
    if trade is None:
        detail = "The message that it answers published no signal of this feed."
        raise InvalidInputError(Code.ALERT_WITHOUT_TRADE, detail)
    require_open(trade)
    pair = update.pair and resolve_pair(
        feed, update.pair, field="symbol", closing=Closing(update.side)
    )
    if (pair and pair != trade.currency_pair) or update.side not in (None, trade.direction):
        named = " ".join(filter(None, (str(update.side or ""), pair)))
        detail = f"It names {named}, and answers the message of {trade.number} ({trade})."
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="symbol")
    _require_clear_cancel(trade, update)
    return trade


def trade_of_message(feed: Feed, message_key: str) -> Signal | None:
    """Return the signal that opened the trade which a message began or changed; None: no trade."""
    message = TelegramMessage.objects.filter(feed=feed, key=message_key).first()
    if message is None:
        return None
    signals = list(Signal.objects.filter(pk__in=message.signal_ids).select_related("refers_to"))
    opened = {one for one in signals if one.action == Action.OPEN}
    referred = {one.refers_to for one in signals if one.refers_to is not None}
    found = opened or referred
    return found.pop() if len(found) == 1 else None


def require_open(trade: Signal) -> None:
    """Raise InvalidInputError ALERT_WITHOUT_TRADE if a signal has nothing open any more."""
    with for_all_tenants():
        found = open_signals(trade.feed_id, trade.currency_pair, Direction(trade.direction))
    if trade.pk not in {one.id for one in found} - closed_by_feed([trade.pk]):
        detail = f"{trade.number} ({trade}) has nothing open any more."
        raise InvalidInputError(Code.ALERT_WITHOUT_TRADE, detail)


def _require_clear_cancel(trade: Signal, update: AlertUpdate) -> None:
    if update.cancels and _has_filled(trade):
        detail = (
            f"A cancel of {trade.number}, which has filled, could end what still waits, or "
            "close the trade. Write “close” with the symbol to close it."
        )
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="action")


def _candidates(trades: list[Signal], where: str) -> str:
    shown = ", or ".join(f"{trade.number} ({trade})" for trade in trades[:_SHOWN])
    more = f" or {len(trades) - _SHOWN} more" if len(trades) > _SHOWN else ""
    return (
        f"The feed has {len(trades)} open trades{where}; this could be about {shown}{more}. Name "
        "the symbol and the side, or send JSON with refers_to."
    )


def _has_filled(trade: Signal) -> bool:
    if not _filled_sources:
        return False
    conditions = " OR ".join(_filled_sources)
    with for_all_tenants():
        found = rows(
            f"SELECT 1 AS one FROM signals_signal s WHERE s.id = %s AND ({conditions})", (trade.pk,)
        )
    return bool(found)


def drafts_of(trade: Signal, update: AlertUpdate) -> Iterator[SignalDraft]:
    """Yield the signals of an update: what is closed first, then the new levels."""
    reference = SignalDraft(refers_to=trade.pk, sent_at=update.sent_at)
    if update.cancels or update.fraction is not None:
        fraction = update.fraction or reference.close_fraction
        yield replace(reference, action=Action.CLOSE, close_fraction=fraction)
    stop = entry_of(trade) if update.sl_to_entry else update.sl
    if stop is None and not update.targets:
        return
    if update.targets and len(trade.target_prices) > 1:
        detail = (
            f"{trade.number} has {len(trade.target_prices)} targets: one price could replace all "
            "of them, or one. Send JSON with action MODIFY and all targets."
        )
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="targets")
    yield replace(reference, action=Action.MODIFY, sl=stop, targets=update.targets)


def entry_of(trade: Signal) -> Decimal:
    """Return the entry price that a trade's own signal states. Raises PRICE_REQUIRED."""
    moved = Signal.objects.filter(
        Q(open_price__isnull=False) | Q(stop_price__isnull=False), refers_to=trade,
        action=Action.MODIFY, published_at__isnull=False,
    ).order_by("-pk")  # fmt: skip
    stated = moved.first() or trade
    is_stop = trade.order_type in AT_MARKET_FROM_STOP
    price: Decimal | None = stated.stop_price if is_stop else stated.open_price
    if price is None:
        detail = (
            f"{trade.number} was entered at market and states no price, and each account has its "
            "own. Write the price: “move SL to 1.0850”."
        )
        raise InvalidInputError(Code.PRICE_REQUIRED, detail, field="sl")
    return price


def described(trade: Signal, update: AlertUpdate) -> str:
    """Return what an update does with its trade, without a full stop."""
    parts = []
    if update.cancels:
        parts.append("cancels the entry of")
    elif update.fraction is not None:
        share = "" if update.fraction == 1 else f" {plain(update.fraction * 100)} % of"
        parts.append(f"closes{share}")
    if update.sl_to_entry:
        parts.append(f"moves the stop to the entry {plain(entry_of(trade))} of")
    elif update.sl is not None:
        parts.append(f"moves the stop to {plain(update.sl)} of")
    if update.targets:
        parts.append(f"moves the target to {plain(update.targets[0].price)} of")
    text = f"{', '.join(parts)} {trade.number}, {trade}"
    return text[0].upper() + text[1:]


def _published(feed: Feed, draft: SignalDraft, external_id: str) -> Signal:
    draft = replace(draft, external_id=external_id)
    signal, is_new = save_draft(feed, draft, origin=Origin.ALERT, by=feed.owner)
    if not services.publish(signal.pk, by=feed.owner) or not is_new:
        detail = f"This alert was carried out before, as {signal.number}; nothing was done now."
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    signal.refresh_from_db()
    return signal
