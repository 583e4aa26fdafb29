"""Close what a feed has open: all of it, or the trades in one symbol or on one side.

One CLOSE signal is published for each trade, so that each account's result is on the page of the
trade that it took.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

from django.db import transaction

from common.errors import ConflictError, InvalidInputError, raise_all
from common.money import PLACES, plain, to_stored
from common.permissions import Right, require
from common.reason_codes import Code
from signals import services
from signals.models import Action, Approval, Direction, Feed, Origin, ReceivedAlert, Signal
from signals.open_signals import OpenSignal, all_open_signals, closed_by_feed, open_signals
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.sequence import lock_alert_order
from signals.symbol_completion import Closing, resolve_pair
from signals.symbols import read_symbol
from users.models import User
from users.tenancy import for_all_tenants

LONGEST_EXTERNAL_ID = 70  # a column holds 100 characters, and the trade's number is appended


@dataclass(frozen=True, slots=True)
class TradeSelection:
    """Which of a feed's trades to close, and how much of each.

    symbol: '' for all symbols. direction: of the trades; None: both. fraction: of what is open.
    """

    symbol: str = ""
    direction: Direction | None = None
    fraction: Decimal = Decimal(1)

    @property
    def note(self) -> str:
        """What is closed, for the note of each CLOSE signal. Raises InvalidInputError."""
        symbol = _read_symbol(self.symbol)
        trades = f"all {self.direction or ''} trades".replace("  ", " ")
        return f"Closes {trades}{symbol and f' in {symbol}'} of the feed."

    @property
    def text(self) -> str:
        """What is closed, and how much of it. Raises InvalidInputError."""
        return f"{self.note} {plain(self.fraction * 100)} % of each."


@dataclass(frozen=True, slots=True)
class ClosedTrades:
    """signals: the CLOSE signals, of the oldest trade first. skipped: the ids of trades that the
    feed has closed before and that accounts still hold, whose exits are tried again anyway, and of
    those whose CLOSE by at least this share waits for an operator's approval.
    """

    signals: tuple[Signal, ...] = ()
    skipped: tuple[int, ...] = ()


def open_trades(feed: Feed, selection: TradeSelection) -> ClosedTrades:
    """Return the OPEN signals that `close_trades` would close now, and those it would skip.

    Raises InvalidInputError SYMBOL_UNKNOWN, FIELD_INVALID.
    """
    with transaction.atomic():
        trades, skipped = _select(feed, selection)
    by_id = Signal.objects.in_bulk([trade.id for trade in trades])
    return ClosedTrades(tuple(by_id[trade.id] for trade in trades), skipped)


@transaction.atomic
def close_trades(
    feed: Feed,
    selection: TradeSelection,
    *,
    origin: Origin,
    external_id: str = "",
    by: User | None,
) -> ClosedTrades:
    """Publish a CLOSE for each selected trade of a feed, all or none; `signals` is empty if nothing
    is open.

    If the feed is not approved, the signals wait for an operator's approval instead. external_id: a
    repetition with it returns what the first call closed, and closes nothing that was opened since.
    If there was nothing to close then, it is recognised for a week.
    Raises InvalidInputError SYMBOL_UNKNOWN, FIELD_INVALID, FEED_UNKNOWN (archived); ConflictError
    DUPLICATE_SIGNAL (the external id with another selection); NotAllowedError.
    """
    require(by, Right.PUBLISH, owner_id=feed.owner_id)
    raise_all(selection_errors(selection, external_id))
    known = _known(feed, external_id, selection)
    if known is not None:
        return ClosedTrades(known)
    trades, skipped = _select(feed, selection)
    known = _known(feed, external_id, selection)
    if known is not None:
        return ClosedTrades(known)  # another process has closed them while this one waited
    signals = tuple(_close(feed, trade, selection, origin, external_id, by) for trade in trades)
    if external_id and not signals:
        ReceivedAlert.objects.create(
            feed=feed, key=_key_of(external_id), change="close", summary=selection.text
        )
    return ClosedTrades(signals, skipped)


def _select(feed: Feed, selection: TradeSelection) -> tuple[list[OpenSignal], tuple[int, ...]]:
    """Return the trades to close, and the ids of those to skip; locks out alerts."""
    raise_all(selection_errors(selection))
    symbol = _read_symbol(selection.symbol)
    lock_alert_order(feed, symbol)
    if symbol:
        closing = Closing(selection.direction)
        symbol = resolve_pair(feed, symbol, field="symbol", closing=closing)
    with for_all_tenants():
        if symbol:
            opened = open_signals(feed.pk, symbol, selection.direction)
        else:
            opened = all_open_signals(feed.pk, selection.direction)
    ids = [signal.id for signal in opened]
    skipped = closed_by_feed(ids) | _waiting_for_approval(ids, selection.fraction)
    return [signal for signal in opened if signal.id not in skipped], tuple(sorted(skipped))


def selection_errors(selection: TradeSelection, external_id: str = "") -> list[InvalidInputError]:
    """Return all faults of what `close_trades` gets."""
    faults = []
    try:
        _read_symbol(selection.symbol)
    except InvalidInputError as error:
        faults.append(error)
    details = {
        "close_fraction": _fraction_fault(selection.fraction),
        "external_id": f"external_id has at most {LONGEST_EXTERNAL_ID} characters here."
        if len(external_id) > LONGEST_EXTERNAL_ID
        else "",
    }
    faults += [
        InvalidInputError(Code.FIELD_INVALID, detail, field=field)
        for field, detail in details.items()
        if detail
    ]
    return faults


def _fraction_fault(fraction: Decimal) -> str:
    if not 0 < fraction <= 1:
        return "close_fraction must be above 0 and at most 1."
    if fraction != to_stored(fraction):
        return f"close_fraction has at most {PLACES} decimals."
    return ""


def _waiting_for_approval(ids: Collection[int], fraction: Decimal) -> set[int]:
    """Return the ids of trades whose CLOSE, by this share or more, waits for an operator."""
    closes = Signal.objects.filter(
        action=Action.CLOSE,
        refers_to__in=ids,
        close_fraction__gte=fraction,
        approval=Approval.PENDING,
        cancelled_at=None,
    )
    return set(closes.values_list("refers_to_id", flat=True))


def _read_symbol(text: str) -> str:
    try:
        return read_symbol(text) if text.strip() else ""
    except InvalidInputError as error:
        raise InvalidInputError(error.code, error.detail, field="symbol") from None


def _known(feed: Feed, external_id: str, selection: TradeSelection) -> tuple[Signal, ...] | None:
    """Return the signals of an earlier call with this external id, which may have found nothing to
    close; None without such a call. Raises ConflictError DUPLICATE_SIGNAL."""
    if not external_id:
        return None
    same = feed.signals.filter(action=Action.CLOSE, external_id__startswith=f"{external_id}:S-")
    known = tuple(
        signal
        for signal in same.order_by("refers_to_id")
        if signal.external_id == f"{external_id}:S-{signal.refers_to_id}"
    )
    asked = (selection.fraction, selection.note)
    if any((signal.close_fraction, signal.note) != asked for signal in known):
        detail = f"{known[0].number} has this external id with another selection of trades."
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    empty = feed.received_alerts.filter(key=_key_of(external_id)).order_by("-id").first()
    if not known and empty is None:
        return None
    if empty is not None and empty.summary != selection.text:
        detail = "A call with this external id closed nothing, with another selection of trades."
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    return known


def _key_of(external_id: str) -> str:
    """Return the key of a call that found nothing to close."""
    return sha256(f"close trades {external_id}".encode()).hexdigest()


def _close(
    feed: Feed,
    trade: OpenSignal,
    selection: TradeSelection,
    origin: Origin,
    external_id: str,
    by: User | None,
) -> Signal:
    draft = SignalDraft(
        action=Action.CLOSE,
        refers_to=trade.id,
        close_fraction=selection.fraction,
        note=selection.note,
        external_id=f"{external_id}:S-{trade.id}" if external_id else "",
    )
    signal, _ = save_draft(feed, draft, origin=origin, by=by)
    if signal.approval == Approval.APPROVED:
        services.publish(signal.pk, by=by)
        signal.refresh_from_db()
    return signal
