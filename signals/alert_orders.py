"""Carrying out an alert that speaks of a symbol: closing what its feed has open, opening a trade.

Called in the alert's transaction, on behalf of the feed's owner.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from common.money import plain
from common.sql import rows
from signals import services
from signals.alert_reading import AlertOrder
from signals.draft import SignalDraft
from signals.models import Action, Direction, Door, Feed, ReceivedAlert, Signal
from signals.open_signals import OpenSignal, open_signals
from signals.receiving import REPLAY_WINDOW, receive
from signals.strategy_orders import Change
from users.tenancy import for_all_tenants

_LOCK = 0x46434111  # namespace of the advisory locks that put a feed's alerts one after the other


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

    Closes first, then opens. One that is resent late closes nothing that a later alert opened.
    Raises what `receive` and `publish` do; the caller's transaction is taken back then.
    """
    rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_LOCK, feed.pk % 2**31))
    if known := _known(feed, order):
        found = Signal.objects.in_bulk(known.signal_ids)
        signals = tuple(found[pk] for pk in known.signal_ids if pk in found)
        return Outcome(signals, False, known.change, known.summary)
    closed = _open_before(feed, order) if order.closes else []
    drafts = [
        SignalDraft(action=Action.CLOSE, refers_to=one.id, close_fraction=order.fraction)
        for one in closed
    ]
    if order.opening is not None:
        drafts.append(order.opening)
    signals = tuple(
        _published(feed, draft, f"alert:{order.key[:32]}:{number}")
        for number, draft in enumerate(drafts, 1)
    )
    change = order.meaning.change.value if order.meaning else "close"
    summary = _summary(order, closed)
    ReceivedAlert.objects.create(
        feed=feed, key=order.key, change=change, summary=summary, sent_at=order.sent_at,
        signal_ids=[signal.pk for signal in signals],
    )  # fmt: skip
    return Outcome(signals, True, change, summary)


def _known(feed: Feed, order: AlertOrder) -> ReceivedAlert | None:
    """Return the same alert, if it was here: one without a time only for REPLAY_WINDOW."""
    same = ReceivedAlert.objects.filter(feed=feed, key=order.key)
    if order.sent_at is None:
        same = same.filter(received_at__gt=datetime.now(UTC) - REPLAY_WINDOW)
    return same.order_by("-id").first()


def _open_before(feed: Feed, order: AlertOrder) -> list[OpenSignal]:
    """Return what the feed has open of the symbol, without what later alerts opened."""
    with for_all_tenants():
        found = open_signals(feed.pk, order.pair, order.side)
    if not found or order.sent_at is None:
        return found
    ids = [one.id for one in found]
    later = ReceivedAlert.objects.filter(
        feed=feed, sent_at__gt=order.sent_at, signal_ids__overlap=ids
    ).values_list("signal_ids", flat=True)
    opened_later = {pk for ids in later for pk in ids}
    return [one for one in found if one.id not in opened_later]


def _published(feed: Feed, draft: SignalDraft, external_id: str) -> Signal:
    named = replace(draft, external_id=external_id)
    signal, _ = receive(feed, named, door=Door.ALERT, by=feed.owner)
    services.publish(signal.pk, by=feed.owner)
    signal.refresh_from_db()
    return signal


def _summary(order: AlertOrder, closed: list[OpenSignal]) -> str:
    said = []
    if order.closes and (closed or order.opening is None):
        said.append(_closing(order, closed))
    if order.opening is not None:
        side = "long" if order.opening.direction == Direction.BUY else "short"
        adds = order.meaning is not None and order.meaning.change == Change.ADD
        said.append(f"{'added to' if adds else 'opened'} a {side} trade in {order.pair}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _closing(order: AlertOrder, closed: list[OpenSignal]) -> str:
    side = {None: "", Direction.BUY: "long ", Direction.SELL: "short "}[order.side]
    if not closed:
        return f"nothing to do: this feed has no open {side}trade in {order.pair}"
    numbers = [f"S-{one.id}" for one in closed]
    shown = ", ".join(numbers[:3]) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")
    share = "" if order.fraction == 1 else f"{plain(round(order.fraction * 100, 2))} % of "
    return f"closed {share}{shown}"
