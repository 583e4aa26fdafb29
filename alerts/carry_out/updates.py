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

from alerts.carry_out.levels import require_near_trade
from alerts.carry_out.sequence import BOTH, require_in_order
from alerts.carry_out.sides import require_direction
from alerts.carry_out.trades import Moment, has_filled, moment_of, only_trade
from alerts.models import TelegramMessage
from alerts.reading import AlertUpdate
from common.errors import ConflictError, InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals import services
from signals.models import (
    AT_MARKET_FROM_STOP,
    Action,
    Direction,
    Feed,
    Origin,
    ReceivedAlert,
    Signal,
)
from signals.open_signals import closed_by_feed, open_signals
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.reading.ends import REPLAY_WINDOW
from signals.sequence import lock_alert_order
from signals.symbol_completion import Closing, resolve_pair
from users.tenancy import for_all_tenants


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """The signals that an update published, and what it did, in a sentence."""

    signals: tuple[Signal, ...]
    is_new: bool
    summary: str


def carry_out_update(
    feed: Feed,
    update: AlertUpdate,
    *,
    received_at: datetime,
    reply_to: str = "",
    written_at: datetime | None = None,
) -> UpdateResult:
    """Publish what an update says about the feed's only open trade; once within REPLAY_WINDOW.

    received_at: when it arrived; it may have waited since. reply_to: the message that it answers;
    it is then about that message's trade, however many are open. written_at: when a chat states it
    was written; its source then knows that it is no repetition.

    Raises InvalidInputError ALERT_WITHOUT_TRADE, ALERT_AMBIGUOUS (several trades, or a cancel of
    one that has filled), PRICE_REQUIRED (break-even of a trade without a price), and what
    `save_draft` and `publish` raise; ConflictError, also ALERT_OUT_OF_ORDER.
    """
    if reply_to:  # the same words about two trades are two updates
        key = hashlib.sha256(f"{update.key} {reply_to}".encode()).hexdigest()
        update = replace(update, key=key)
    lock_alert_order(feed, update.pair)
    moment = moment_of(update, received_at=received_at, written_at=written_at)
    known = None if written_at else _received_before(feed, update, received_at)
    if known and _is_repetition(feed, update, known, moment, reply_to):
        signals = tuple(Signal.objects.filter(pk__in=known.signal_ids).order_by("pk"))
        return UpdateResult(signals, False, known.summary)
    trade = replied_trade(feed, update, reply_to) if reply_to else only_trade(feed, update, moment)
    require_clear_cancel(trade, update)
    sent_at = update.sent_at or received_at
    name = f"alert:{update.key[:32]}:{int(sent_at.timestamp())}:{trade.pk}"
    signals = tuple(
        _published(feed, draft, f"{name}:{number}", moment.sent_at)
        for number, draft in enumerate(drafts_of(trade, update), 1)
    )
    summary = f"{described(trade, update)}."
    ReceivedAlert.objects.create(
        feed=feed, key=update.key, pair=trade.currency_pair, change="update", summary=summary[:300],
        sent_at=moment.sent_at, received_at=received_at,
        ended_side=str(trade.direction) if _ends(update) else "",
        signal_ids=[signal.pk for signal in signals],
    )  # fmt: skip
    return UpdateResult(signals, True, summary)


def _ends(update: AlertUpdate) -> bool:
    return update.cancels or update.fraction == 1


def remember_without_trade(
    feed: Feed, update: AlertUpdate, *, received_at: datetime, written_at: datetime | None
) -> None:
    """Store the end of a trade that has not arrived: an entry that was sent before it opens
    nothing. Does nothing for updates that end none, or whose time is not known."""
    moment = moment_of(update, received_at=received_at, written_at=written_at)
    if moment.sent_at is None or not _ends(update):
        return
    key = hashlib.sha256(f"{update.key} without a trade".encode()).hexdigest()
    ReceivedAlert.objects.create(
        feed=feed, key=key, pair=update.pair, change="update", sent_at=moment.sent_at,
        received_at=received_at, ended_side=str(update.side or BOTH),
        summary="Found no trade to end.",
    )  # fmt: skip


def _is_repetition(
    feed: Feed, update: AlertUpdate, known: ReceivedAlert, moment: Moment, reply_to: str
) -> bool:
    """Whether an update is the known message again. Without a time, the same words about another
    trade are a second message or the first one, late: raises InvalidInputError ALERT_AMBIGUOUS."""
    if update.sent_at is not None or reply_to:
        return True
    try:
        trade = only_trade(feed, update, moment)
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


def require_clear_cancel(trade: Signal, update: AlertUpdate) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a cancel of what has filled."""
    if update.cancels and has_filled(trade):
        detail = (
            f"A cancel of {trade.number}, which has filled, could end what still waits, or "
            "close the trade. Write “close” with the symbol to close it."
        )
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="action")


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
    require_near_trade(trade, update.prices)
    require_direction(trade, update, stop)
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


def _published(
    feed: Feed, draft: SignalDraft, external_id: str, sent_at: datetime | None
) -> Signal:
    draft = replace(draft, external_id=external_id)
    signal, is_new = save_draft(feed, draft, origin=Origin.ALERT, by=feed.owner)
    require_in_order(feed, signal, replace(draft, sent_at=sent_at))
    if not services.publish(signal.pk, by=feed.owner) or not is_new:
        detail = f"This alert was carried out before, as {signal.number}; nothing was done now."
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    signal.refresh_from_db()
    return signal
