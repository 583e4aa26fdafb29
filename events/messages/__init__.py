"""Titles and texts of the messages about events. Pure, but for the texts that are in force."""

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal

from common.ended_orders import is_ended_wait
from common.web.formatting import gain_amount
from events.context import EventContext
from events.messages import feeds, installation, orders, positions, users
from events.messages.labels import DIGEST_LABELS
from events.messages.lines import fitting, line_of, one_line
from events.messages.merging import merged
from events.messages.parts import (
    FINAL_STATUS,
    LINES_MAX,
    ROOM,
    TITLE_MAX,
    Lines,
    asked_prices,
    capital,
)
from events.messages.templates import own_text
from events.models import EventKind
from events.signal_messages import executed, incomplete

__all__ = ["DIGEST_LABELS", "RENDERERS", "Message", "built_in_message", "render", "render_digest"]

TWIN = "Paper twin: "
NOT_SENT = "order.denied, not in time"  # not an event kind; a digest counts these separately
NOT_SENT_TEXT = ("order not sent in time", "orders not sent in time")
RANKS = [*DIGEST_LABELS]
RANKS.insert(RANKS.index(EventKind.ORDER_DENIED) + 1, NOT_SENT)


@dataclass(frozen=True, slots=True)
class Message:
    """A message to people: one line of title, several lines of body."""

    title: str
    body: str


def render(event: EventContext) -> Message:
    """Return the message about one event, by the installation's own text if it has one.

    Facts that are not known are left out.
    """
    built_in = built_in_message(event)
    return _own_message(event, built_in) or built_in


def _own_message(event: EventContext, built_in: Message) -> Message | None:
    """Return the message by the installation's own text; None: it has none that can be used."""
    title = built_in.title.removeprefix(TWIN) if event.is_of_twin else built_in.title
    own = own_text(event, title, built_in.body)
    return None if own is None else Message(_marked(event, own.title), own.body)


def built_in_message(event: EventContext) -> Message:
    """Return the message about one event, by the built-in text."""
    title, *body = _titled(event)
    plan = f"plan {plan_id}" if (plan_id := event.get("trade_plan_id")) else ""
    where = ", ".join(text for text in (event.get("account"), event.get("signal"), plan) if text)
    asked = asked_prices(event)
    lines = [*body, f"{capital(asked)}." if asked else "", f"{where}." if where else ""]
    return Message(title, "\n".join(line for line in lines if line))


def render_digest(events: Sequence[EventContext], *, room: int = ROOM) -> Message:
    """Return one message about several events: counts in the title, one line each in the body.

    A line has the installation's own text of its kind; the title counts by the built-in words.
    room: the most characters of the body. What is left out is counted in its last line.
    """
    events = merged(events)
    if len(events) == 1:
        message = render(events[0])
        fitted = fitting(message.body.split("\n"), room=room, most=room, what="lines")
        return Message(message.title, "\n".join(fitted))
    signals = {event.get("signal") for event in events}
    by_rank = sorted(events, key=lambda event: (_rank(_counted_as(event)), event.id))
    total = _total(events)
    lines = [_line(event, with_signal=len(signals) > 1) for event in by_rank[:LINES_MAX]]
    lines += [""] * (len(events) - len(lines))  # they count, and are not shown
    room -= sum(len(line) + 1 for line in total)
    fitted = fitting(lines, room=room, most=LINES_MAX)
    return Message(_title(events, signals)[:TITLE_MAX], "\n".join([*fitted, *total]))


def _title(events: Sequence[EventContext], signals: Set[str]) -> str:
    counts = Counter(_counted_as(event) for event in events)
    title = ", ".join(_count(kind, counts[kind]) for kind in sorted(counts, key=_rank))
    if len(signals) == 1 and (signal := next(iter(signals))):
        title += f": {signal}"
    return f"{TWIN}{title}" if all(event.is_of_twin for event in events) else title


def _total(events: Sequence[EventContext]) -> list[str]:
    """Return the sum of the results of closed positions, by currency; nothing about fewer than two.

    A result that is not known leaves the whole sum out: it would be wrong.
    """
    closed = [event for event in events if event.kind == EventKind.POSITION_CLOSED]
    totals: dict[str, Decimal] = {}
    for event in closed:
        net = positions.net_result(event)
        if net is None or not (currency := event.get("currency")):
            return []
        totals[currency] = totals.get(currency, Decimal(0)) + net
    sums = ", ".join(gain_amount(total, currency) for currency, total in sorted(totals.items()))
    return [f"Closed with, in total: {sums}."] if len(closed) > 1 else []


def _counted_as(event: EventContext) -> str:
    """Return the event's kind, or NOT_SENT for an order that became too old while it waited."""
    is_unsent = is_ended_wait(event.get("code"), FINAL_STATUS.get(event.kind, ""))
    return NOT_SENT if is_unsent else event.kind


def _rank(kind: str) -> int:
    return RANKS.index(kind) if kind in RANKS else len(RANKS)


def _line(event: EventContext, *, with_signal: bool) -> str:
    """Return the event's line: all of the installation's own text, else title and facts."""
    if own := _own_message(event, built_in_message(event)):
        return one_line([own.title, *own.body.split("\n")])
    title, *body = _titled(event)
    return line_of(event, title, body, with_signal=with_signal)


def _marked(event: EventContext, title: str) -> str:
    return (f"{TWIN}{title}" if event.is_of_twin else title)[:TITLE_MAX]


def _titled(event: EventContext) -> Lines:
    """Return the title of an event's message, and the lines about what has happened."""
    title, *body = RENDERERS.get(event.kind, _by_kind)(event)
    return (_marked(event, title), *body)


def _count(kind: str, count: int) -> str:
    singular, plural = NOT_SENT_TEXT if kind == NOT_SENT else DIGEST_LABELS.get(kind, (kind, kind))
    return f"{count:,} {singular if count == 1 else plural}"


def _by_kind(event: EventContext) -> Lines:
    return (capital(DIGEST_LABELS.get(event.kind, (event.kind, ""))[0]), "")


RENDERERS: dict[str, Callable[[EventContext], Lines]] = {
    EventKind.SIGNAL_PUBLISHED: orders.published,
    EventKind.ALERT_REFUSED: orders.alert_refused,
    EventKind.TELEGRAM_STOPPED: orders.telegram_stopped,
    EventKind.FEED_APPROVAL_ASKED: feeds.approval_asked,
    EventKind.FEED_APPROVAL_DECIDED: feeds.approval_decided,
    EventKind.ORDER_FILLED: orders.filled,
    EventKind.ORDER_PARTIALLY_FILLED: orders.filled,
    EventKind.ORDER_DENIED: orders.denied,
    EventKind.ORDER_REJECTED: orders.rejected,
    EventKind.ORDER_SKIPPED: orders.skipped,
    EventKind.ORDER_PLACED: orders.placed,
    EventKind.SIGNAL_INCOMPLETE: incomplete,
    EventKind.SIGNAL_EXECUTED: executed,
    EventKind.ORDER_FAILED: orders.failed,
    EventKind.ORDER_UNKNOWN: orders.unknown,
    EventKind.ORDER_UNEXPECTEDLY_LIVE: orders.unexpectedly_live,
    EventKind.ORDER_UNKNOWN_TOO_LONG: orders.unknown_too_long,
    EventKind.ORDER_STUCK: orders.stuck,
    EventKind.ORDER_CHANGED: orders.changed,
    EventKind.ORDER_CANCELLED: orders.cancelled,
    EventKind.ORDER_EXPIRED: orders.expired,
    EventKind.POSITION_OPENED: positions.opened,
    EventKind.POSITION_CLOSED: positions.closed,
    EventKind.POSITION_UNPROTECTED: positions.unprotected,
    EventKind.POSITION_STOP_MOVED: positions.stop_moved,
    EventKind.EXIT_DELAYED: positions.exit_delayed,
    EventKind.SLIPPAGE_ALERT: positions.slippage,
    EventKind.CONNECTION_ERROR: installation.connection_error,
    EventKind.CONNECTION_INACTIVE: installation.inactive,
    EventKind.CONNECTION_RECOVERED: installation.recovered,
    EventKind.HOST_DOWN: installation.host_down,
    EventKind.PRICES_LOST: installation.prices_lost,
    EventKind.PRICES_BACK: installation.prices_back,
    EventKind.PRICES_ON_FALLBACK: installation.prices_on_fallback,
    EventKind.PRICES_ON_PRIMARY: installation.prices_on_primary,
    EventKind.HOST_UP: installation.host_up,
    EventKind.DRIFT_FOUND: installation.drift_found,
    EventKind.AUDIT_FAILED: installation.audit,
    EventKind.AUDIT_NOT_JUDGED: installation.not_judged,
    EventKind.API_KEY_MADE: users.key_made,
    EventKind.API_KEY_ENDS_SOON: users.key_ends_soon,
    EventKind.API_KEY_ENDED: users.key_ended,
    EventKind.API_KEY_NEW_NETWORK: users.key_new_network,
    EventKind.PASSWORD_CHANGED: users.password_changed,
    EventKind.AUDIT_TRAIL_BROKEN: installation.trail_broken,
    EventKind.AUDIT_TRAIL_INTACT: installation.trail_intact,
    EventKind.KILL_SWITCH: positions.kill_switch,
    EventKind.LOSS_LIMIT_REACHED: positions.loss_limit_reached,
    EventKind.TRADING_RESUMED: positions.trading_resumed,
    EventKind.SCHEDULER_LATE: installation.scheduler_late,
    EventKind.SCHEDULER_BACK: installation.scheduler_back,
    EventKind.CLOCK_SET_BACK: installation.clock_set_back,
    EventKind.SETTINGS_REFUSED: installation.settings_refused,
    EventKind.BUS_LATE: installation.bus_late,
    EventKind.BUS_BACK: installation.bus_back,
    EventKind.BUS_NOT_RECEIVED: installation.bus_not_received,
    EventKind.BUS_RECEIVED: installation.bus_received,
    EventKind.BUS_MESSAGE_REFUSED: installation.bus_message_refused,
    EventKind.CHANNEL_ENDED: users.channel_ended,
    EventKind.CHANNEL_TEST: users.channel_test,
    EventKind.CHANNEL_CONFIRMATION: users.channel_confirmation,
}
