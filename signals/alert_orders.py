"""Carrying out an alert that speaks of a symbol: closing what its feed has open, opening a trade.

Called in the alert's transaction, on behalf of the feed's owner.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from common.errors import ConflictError, FillcastError, InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals import services
from signals.alert_reading import AlertOrder
from signals.alert_sequence import keep_order, late_entry, lock_alert_order, opened_later
from signals.draft import SignalDraft
from signals.ingest import REPLAY_WINDOW, save_draft
from signals.listings import require_listed_pair
from signals.models import Action, Direction, Feed, Origin, ReceivedAlert, Signal
from signals.open_signals import OpenSignal, closed_by_feed, open_signals
from signals.strategy_orders import Change
from signals.symbol_completion import Closing, pair_meant
from users.tenancy import for_all_tenants

# So many trades that the feed has closed, and an account still holds, an alert closes once more.
CLOSED_AGAIN = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an alert: its signals (the one that opens last), what was done in a sentence,
    and whether it is new. No signals: there was nothing to do."""

    signals: tuple[Signal, ...]
    is_new: bool
    change: str = ""
    summary: str = ""

    @property
    def main(self) -> Signal | None:
        """The signal that stands for the alert: the one that opens, else the first that closes."""
        return next((one for one in self.signals if one.action == Action.OPEN), None) or next(
            iter(self.signals), None
        )


def carry_out(feed: Feed, order: AlertOrder) -> Outcome:
    """Publish the signals that an alert's order comes to; once, however often it is sent.

    Closes first, then opens. One that comes late closes nothing that a later alert opened, and
    opens no trade that a later alert ended; a reversal that may not open still closes, also where
    no account can trade the symbol any more.
    Raises what `receive` and `publish` do, and ConflictError ALERT_OUT_OF_ORDER, DUPLICATE_SIGNAL;
    the caller's transaction is taken back then.
    """
    lock_alert_order(feed, order.pair)
    known = _known(feed, order)
    if known and order.sent_at is not None:
        return _as_before(known)
    closing = Closing(order.side) if order.opening is None else None
    meant = pair_meant(feed, order.pair, field=order.symbol_field, closing=closing)
    order = _with_pair(order, meant)
    closed, left = _to_close(feed, order, known)
    if known and not closed:
        return _as_before(known)
    withheld = _withheld(feed, order)
    if withheld and not closed:
        raise withheld
    name = _name(order)
    signals = tuple(
        _published(feed, _closing_draft(one, order), f"{name}:{number}")
        for number, one in enumerate(closed, 1)
    )
    if order.opening is not None and withheld is None:
        try:
            signals += (_published(feed, order.opening, f"{name}:{len(closed) + 1}"),)
        except InvalidInputError as error:
            if not closed:
                raise
            withheld = error
    summary = _summary(order, closed, left, withheld)
    keep_order(feed, order, summary, signals)
    return Outcome(signals, True, order.change, summary)


def _with_pair(order: AlertOrder, pair: str) -> AlertOrder:
    return replace(order, pair=pair, opening=order.opening and replace(order.opening, pair=pair))


def _unlisted(feed: Feed, order: AlertOrder) -> InvalidInputError | None:
    """Return the refusal of an order whose symbol no account of the feed can trade.

    What the feed has traded before may be closed again: then there is nothing to do.
    """
    if order.opening is None and feed.signals.published().filter(currency_pair=order.pair).exists():
        return None
    try:
        require_listed_pair(feed, order.pair, field=order.symbol_field)
    except InvalidInputError as error:
        return error
    return None


def _name(order: AlertOrder) -> str:
    """Return how an order's signals are named: for ever the same if it has a time or an external
    id, else another name each time, since equal orders are told apart by what is open."""
    name = f"alert:{order.key[:32]}"
    is_identified = order.sent_at is not None or order.external_id
    return name if is_identified else f"{name}:{secrets.token_hex(8)}"


def _known(feed: Feed, order: AlertOrder) -> list[ReceivedAlert]:
    """Return the equal alerts that were here, the latest first; of those with neither a time nor a
    name, only what came within REPLAY_WINDOW."""
    same = ReceivedAlert.objects.filter(feed=feed, key=order.key)
    if order.sent_at is None and not order.external_id:
        same = same.filter(received_at__gt=datetime.now(UTC) - REPLAY_WINDOW)
    return list(same.order_by("-id"))


def _as_before(known: list[ReceivedAlert]) -> Outcome:
    """Return what became of an alert when it was here before."""
    alert = known[0]
    found = Signal.objects.in_bulk(alert.signal_ids)
    signals = tuple(found[pk] for pk in alert.signal_ids if pk in found)
    return Outcome(signals, False, alert.change, alert.summary)


def _to_close(
    feed: Feed, order: AlertOrder, known: list[ReceivedAlert]
) -> tuple[list[OpenSignal], list[OpenSignal]]:
    """Return what an order closes: what the feed has open of the symbol, without what later alerts
    opened and what equal alerts closed; and what of it is passed over (`_closed_before`).

    Raises ConflictError DUPLICATE_SIGNAL if an alert of the same name has closed, and other trades
    are open now: whether it was sent again or is meant for them cannot be known.
    """
    if not order.closes:
        return [], []
    with for_all_tenants():
        found = open_signals(feed.pk, order.pair, order.side)
    closed_before = _closed_before(found)
    not_meant = opened_later(feed, order, [one.id for one in found])
    if known:
        closes = Signal.objects.filter(pk__in=[pk for alert in known for pk in alert.signal_ids])
        not_meant |= set(closes.values_list("refers_to_id", flat=True))
    meant = [one for one in found if one.id not in not_meant]
    closed = [one for one in meant if one.id not in closed_before]
    if known and closed and order.external_id:
        detail = (
            f"An alert with the external id {order.external_id!r} was carried out before. "
            f"Open since then: {_numbers(closed)}. To close it, send timenow or another id."
        )
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    return closed, [one for one in meant if one.id in closed_before]


def _closed_before(found: list[OpenSignal]) -> set[int]:
    """Return those that the feed has closed itself, without the newest: an account that does not
    fill its exits would have every alert of the feed publish one more signal than the last."""
    closed = closed_by_feed([one.id for one in found])
    return set(sorted(closed)[:-CLOSED_AGAIN])


def _withheld(feed: Feed, order: AlertOrder) -> FillcastError | None:
    """Return why an order must not open its trade, as far as it is known before trying."""
    late = late_entry(feed, order.opening) if order.opening else order.opening_fault
    return late or _unlisted(feed, order)


def _closing_draft(one: OpenSignal, order: AlertOrder) -> SignalDraft:
    return SignalDraft(action=Action.CLOSE, refers_to=one.id, close_fraction=order.fraction)


def _published(feed: Feed, draft: SignalDraft, external_id: str) -> Signal:
    named = replace(draft, external_id=external_id)
    signal, is_new = save_draft(feed, named, origin=Origin.ALERT, by=feed.owner)
    if not services.publish(signal.pk, by=feed.owner) or not is_new:
        detail = f"This alert was carried out before, as {signal.number}; nothing was done now."
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    signal.refresh_from_db()
    return signal


def _summary(
    order: AlertOrder,
    closed: list[OpenSignal],
    left: list[OpenSignal],
    withheld: FillcastError | None,
) -> str:
    said = []
    if order.closes and (closed or order.opening is None):
        said.append(_closing(order, closed))
    if left:
        said.append(
            f"passed over {_numbers(left)}, which this feed has closed before and accounts still "
            "hold: close each by refers_to"
        )
    if order.meaning is not None and order.meaning.opens is not None:
        side = "long" if order.meaning.opens == Direction.BUY else "short"
        if withheld is not None:
            said.append(f"opened no {side} trade: {withheld.detail.removesuffix('.')}")
        else:
            verb = "added to" if order.meaning.change == Change.ADD else "opened"
            said.append(f"{verb} a {side} trade in {order.pair}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _closing(order: AlertOrder, closed: list[OpenSignal]) -> str:
    side = {None: "", Direction.BUY: "long ", Direction.SELL: "short "}[order.side]
    if not closed:
        return f"nothing to do: this feed has no open {side}trade in {order.pair}"
    share = "" if order.fraction == 1 else f"{plain(round(order.fraction * 100, 2))} % of "
    return f"closed {share}{_numbers(closed)}"


def _numbers(found: list[OpenSignal]) -> str:
    numbers = [f"S-{one.id}" for one in found]
    return ", ".join(numbers[:3]) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")
