"""The messages about orders and signals. Pure.

The texts never confuse how an order ended: denied by our rules, rejected by the broker, failed
(proven not sent), or unknown.
"""

from common.ended_orders import is_ended_wait
from events.context import EventContext
from events.messages.parts import (
    FINAL_STATUS,
    Lines,
    capital,
    plain_text,
    reason_lines,
    slippage_text,
    trade,
)
from events.models import EventKind


def filled(event: EventContext) -> Lines:
    word = "Filled" if event.kind == EventKind.ORDER_FILLED else "Partly filled"
    price = event.get("price", event.get("avg_fill_price"))
    slippage = slippage_text(event)
    return (
        f"{word}: {trade(event)}" + (f" at {price}" if price else ""),
        f"Slippage {slippage}, + is worse." if slippage else "",
        "The position is open." if event.get("is_open") else "",
    )


def denied(event: EventContext) -> Lines:
    if is_ended_wait(event.get("code"), FINAL_STATUS[event.kind]):
        return _not_sent(event)
    return (
        f"Denied by us: {trade(event)}",
        *reason_lines(event),
        "Nothing was sent to the broker.",
    )


def _not_sent(event: EventContext) -> Lines:
    return (f"Not sent: {trade(event)}", *reason_lines(event), "It will not be sent.")


def skipped(event: EventContext) -> Lines:
    return (
        f"Skipped: {trade(event)}",
        *reason_lines(event),
        "Nothing was sent. Skipped signals are not executed later.",
    )


def placed(event: EventContext) -> Lines:
    broker_order_id = event.get("broker_order_id")
    return (
        f"Accepted by the broker: {trade(event)}",
        f"The broker's order number is {broker_order_id}." if broker_order_id else "",
    )


def rejected(event: EventContext) -> Lines:
    return (f"Rejected by the broker: {trade(event)}", *reason_lines(event))


def failed(event: EventContext) -> Lines:
    return (
        f"Failed, never sent: {trade(event)}",
        "It is proven that the broker does not have it.",
        *reason_lines(event),
    )


def unknown(event: EventContext) -> Lines:
    return (
        f"Unknown: {trade(event)}",
        "The broker's answer never came, so it is not known yet whether the order is live. The "
        "broker is asked; the order is not sent again.",
        *reason_lines(event),
    )


def unexpectedly_live(event: EventContext) -> Lines:
    return (f"Unexpectedly live: {trade(event)}", *reason_lines(event))


def unknown_too_long(event: EventContext) -> Lines:
    return (f"Still unknown: {trade(event)}", *reason_lines(event))


def stuck(event: EventContext) -> Lines:
    return (f"Stuck at the broker: {trade(event)}", *reason_lines(event))


def cancelled(event: EventContext) -> Lines:
    return (f"Cancelled: {trade(event)}", *reason_lines(event), _open_part(event))


def changed(event: EventContext) -> Lines:
    changed = {
        name: f"{name.replace('_', ' ')} {before or 'none'} to {now}"
        for name in ("quantity", "limit_price", "stop_price", "stop_loss", "take_profit")
        if (now := plain_text(event.get(name))) != (before := plain_text(event.get(f"old_{name}")))
    }
    if end := event.get("valid_until"):
        changed["valid_until"] = f"end {event.get('old_valid_until') or 'none'} to {end} UTC"
    by, terms = event.get("by"), list(changed.values())
    is_ours = terms and not changed.keys() - {"stop_loss", "take_profit", "valid_until"}
    return (
        f"{'Changed' if is_ours else 'Changed at the broker'}: {trade(event)}",
        capital(f"{', '.join(terms)}.") if terms else "",
        f"Requested by {by}." if by else "",
    )


def expired(event: EventContext) -> Lines:
    if is_ended_wait(event.get("code"), FINAL_STATUS[event.kind]):
        return _not_sent(event)
    return (f"Expired: {trade(event)}", *reason_lines(event), _open_part(event))


def _open_part(event: EventContext) -> str:
    """Return the line about an entry that had filled in part, which no other event may report."""
    return "The part that had filled is an open position." if event.get("is_open") else ""


def published(event: EventContext) -> Lines:
    text = event.get("title", event.get("trade"))
    return (
        f"{event.get('signal', 'Signal')} published" + (f": {text}" if text else ""),
        f"Feed {event.get('feed')}." if event.get("feed") else "",
    )


def alert_refused(event: EventContext) -> Lines:
    verb = "waited too long" if event.get("state") == "EXPIRED" else "was refused"
    return (
        f"An alert of the feed {event.get('feed')} {verb} and was not published",
        f"{event.get('code')}: {event.get('detail')}",
        f"Received {event.get('received')} as alert {event.get('alert')}; the feed's log of alerts"
        " shows it.",
    )


def telegram_stopped(event: EventContext) -> Lines:
    return (
        f"The Telegram bot {event.get('bot')} of the feed {event.get('feed')} cannot be read",
        f"{event.get('code')}: {event.get('detail')}",
        "Its messages become no signals until this is repaired; see the feed's page Alerts.",
    )
