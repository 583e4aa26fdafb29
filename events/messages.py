"""Titles and texts of the messages about events. Pure.

The texts never confuse how an order ended: denied by our rules, rejected by the broker, failed
(proven not sent), or unknown.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from common.ended_orders import is_ended_wait
from common.formatting import hint, number, sentence, signed, unconverted
from common.limit_figures import read_figures, text_with_detail
from common.reason_codes import Code
from common.units import unit_label
from events.context import EventContext
from events.models import EventKind
from events.signal_messages import incomplete

TITLE_MAX, LINES_MAX = 200, 10
Lines = tuple[str, ...]  # the title, then the body's lines; empty ones are left out

# kind → (singular, plural). A digest keeps this order: what needs attention comes first.
DIGEST_LABELS: dict[str, tuple[str, str]] = {
    EventKind.SCHEDULER_LATE: ("scheduler is late", "schedulers are late"),
    EventKind.AUDIT_TRAIL_BROKEN: ("audit trail broken", "audit trails broken"),
    EventKind.AUDIT_FAILED: ("audit failed", "audits failed"),
    EventKind.AUDIT_NOT_JUDGED: (
        "audit could not judge accounts",
        "audits could not judge accounts",
    ),
    EventKind.POSITION_UNPROTECTED: ("position without its stop", "positions without their stops"),
    EventKind.EXIT_DELAYED: ("exit that cannot be sent", "exits that cannot be sent"),
    EventKind.ORDER_UNEXPECTEDLY_LIVE: ("order unexpectedly live", "orders unexpectedly live"),
    EventKind.ORDER_UNKNOWN_TOO_LONG: (
        "order unknown for too long",
        "orders unknown for too long",
    ),
    EventKind.ORDER_STUCK: ("order stuck at the broker", "orders stuck at the broker"),
    EventKind.HOST_DOWN: (
        "broker host that does not answer",
        "broker hosts that do not answer",
    ),
    EventKind.ORDER_UNKNOWN: ("order unknown", "orders unknown"),
    EventKind.ORDER_FAILED: ("order failed, never sent", "orders failed, never sent"),
    EventKind.ORDER_REJECTED: ("order rejected by the broker", "orders rejected by the broker"),
    EventKind.ORDER_DENIED: ("order denied by us", "orders denied by us"),
    EventKind.SIGNAL_INCOMPLETE: (
        "signal that did not reach all accounts",
        "signals that did not reach all accounts",
    ),
    EventKind.TELEGRAM_STOPPED: ("Telegram bot not read", "Telegram bots not read"),
    EventKind.ALERT_REFUSED: (
        "alert refused after it was received",
        "alerts refused after they were received",
    ),
    EventKind.ORDER_SKIPPED: ("order skipped", "orders skipped"),
    EventKind.CONNECTION_ERROR: ("connection in error", "connections in error"),
    EventKind.CONNECTION_INACTIVE: ("inactive connection", "inactive connections"),
    EventKind.DRIFT_FOUND: ("difference from a broker", "differences from brokers"),
    EventKind.PASSWORD_CHANGED: ("password changed", "passwords changed"),
    EventKind.API_KEY_ENDED: ("API key has ended", "API keys have ended"),
    EventKind.API_KEY_ENDS_SOON: ("API key ends soon", "API keys end soon"),
    EventKind.KILL_SWITCH: ("kill switch changed", "kill switches changed"),
    EventKind.LOSS_LIMIT_REACHED: ("loss limit reached", "loss limits reached"),
    EventKind.SLIPPAGE_ALERT: ("slippage alert", "slippage alerts"),
    EventKind.ORDER_PLACED: ("order accepted by the broker", "orders accepted by the broker"),
    EventKind.ORDER_FILLED: ("order filled", "orders filled"),
    EventKind.ORDER_PARTIALLY_FILLED: ("order partly filled", "orders partly filled"),
    EventKind.ORDER_CHANGED: ("order changed at its broker", "orders changed at their brokers"),
    EventKind.ORDER_EXPIRED: ("order expired", "orders expired"),
    EventKind.ORDER_CANCELLED: ("order cancelled", "orders cancelled"),
    EventKind.POSITION_OPENED: ("position opened", "positions opened"),
    EventKind.POSITION_CLOSED: ("position closed", "positions closed"),
    EventKind.POSITION_STOP_MOVED: ("stop moved by a rule", "stops moved by a rule"),
    EventKind.HOST_UP: ("broker host answers again", "broker hosts answer again"),
    EventKind.TRADING_RESUMED: ("account that trades again", "accounts that trade again"),
    EventKind.CONNECTION_RECOVERED: ("connection works again", "connections work again"),
    EventKind.SCHEDULER_BACK: ("scheduler works again", "schedulers work again"),
    EventKind.AUDIT_TRAIL_INTACT: ("audit trail intact again", "audit trails intact again"),
    EventKind.SIGNAL_PUBLISHED: ("signal published", "signals published"),
    EventKind.CHANNEL_TEST: ("test message", "test messages"),
    EventKind.CHANNEL_CONFIRMATION: ("confirmation message", "confirmation messages"),
}
NOT_SENT = "order.denied, not in time"  # not an event kind; a digest counts these separately
NOT_SENT_TEXT = ("order not sent in time", "orders not sent in time")
RANKS = [*DIGEST_LABELS]
RANKS.insert(RANKS.index(EventKind.ORDER_DENIED) + 1, NOT_SENT)
AMOUNT_LIMIT = Decimal(10) ** 20  # every amount that can be stored is below it
CLOSED_BY = {
    "sl": "The stop loss was hit.",
    "tp": "The take profit was hit.",
    "time_exit": "Its closing time came.",
    "condition_exit": "Its condition, the state of another signal, came to hold.",
    "manual": "Closed through Fillcast.",
    "external_close": "Closed by its owner at the broker.",
    "dust": "What was left is too small to sell: it stays in the account, outside any position.",
}
FINAL_STATUS: dict[str, str] = {
    EventKind.ORDER_DENIED: "DENIED",
    EventKind.ORDER_EXPIRED: "EXPIRED",
    EventKind.ORDER_REJECTED: "REJECTED",
    EventKind.ORDER_FAILED: "FAILED",
}
"""The status of the order when an event of this kind is written."""
KILL_SWITCH_SCOPES = {
    "ALL": "For all accounts.",
    "FEED": "For one feed.",
    "USER": "For all accounts of one owner.",
    "CONNECTION": "For one connection.",
    "BROKER_TYPE": "For all accounts of the broker type {target}.",
    "SYMBOL": "For {target}.",
}
KILL_SWITCH_EFFECTS = {"REDUCING": "exits only", "HALTED": "nothing is sent"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message to people: one line of title, several lines of body."""

    title: str
    body: str


def render(event: EventContext) -> Message:
    """Return the message about one event. Facts that are not known are left out."""
    renderer = RENDERERS.get(event.kind, _by_kind)
    title, *body = renderer(event)
    where = ", ".join(text for text in (event.get("account"), event.get("signal")) if text)
    lines = [*body, f"{where}." if where else ""]
    return Message(title[:TITLE_MAX], "\n".join(line for line in lines if line))


def render_digest(events: Sequence[EventContext]) -> Message:
    """Return one message about several events: counts in the title, one line each in the body."""
    if len(events) == 1:
        return render(events[0])
    counts = Counter(_counted_as(event) for event in events)
    kinds = sorted(counts, key=_rank)
    title = ", ".join(_count(kind, counts[kind]) for kind in kinds)
    if len({event.get("signal") for event in events}) == 1:
        signal = events[0].get("signal")
        title += f": {signal}" if signal else ""
    by_rank = sorted(events, key=lambda event: (_rank(_counted_as(event)), event.id))
    lines = [_line(event) for event in by_rank[:LINES_MAX]]
    if more := len(events) - LINES_MAX:
        lines += [f"… and {more:,} more."] if more > 0 else []
    return Message(title[:TITLE_MAX], "\n".join(lines))


def _counted_as(event: EventContext) -> str:
    """Return the event's kind, or NOT_SENT for an order that became too old while it waited."""
    is_unsent = is_ended_wait(event.get("code"), FINAL_STATUS.get(event.kind, ""))
    return NOT_SENT if is_unsent else event.kind


def _rank(kind: str) -> int:
    return RANKS.index(kind) if kind in RANKS else len(RANKS)


def _line(event: EventContext) -> str:
    account = event.get("account")
    return render(event).title + (f" · {account}" if account else "")


def _count(kind: str, count: int) -> str:
    singular, plural = NOT_SENT_TEXT if kind == NOT_SENT else DIGEST_LABELS.get(kind, (kind, kind))
    return f"{count:,} {singular if count == 1 else plural}"


def _by_kind(event: EventContext) -> Lines:
    return (_capital(DIGEST_LABELS.get(event.kind, (event.kind, ""))[0]), "")


def _trade(event: EventContext) -> str:
    leg = event.get("leg")
    exit_leg = f" ({leg})" if leg and not leg.startswith("entry") else ""
    name = f"order {event.order_id}" if event.order_id else "order"
    return event.get("trade", event.get("title", name)) + exit_leg


def _reason(event: EventContext) -> Lines:
    """Return the code's sentence, figures and detail of this case, what to do, and the code."""
    name, detail = event.get("code"), event.get("detail")
    code = Code(name) if name in Code.__members__ else None
    if code is None:
        return (detail, name)
    detail = "" if detail == code.sentence else detail
    detail = text_with_detail(read_figures(code.value, event.payload.get("figures")), detail)
    status = FINAL_STATUS.get(event.kind, "")
    return (sentence(code, status), detail, hint(code, status), f"Code {code.value}")


def _filled(event: EventContext) -> Lines:
    word = "Filled" if event.kind == EventKind.ORDER_FILLED else "Partly filled"
    price = event.get("price", event.get("avg_fill_price"))
    slippage = _slippage_text(event)
    return (
        f"{word}: {_trade(event)}" + (f" at {price}" if price else ""),
        f"Slippage {slippage}, + is worse." if slippage else "",
    )


def _denied(event: EventContext) -> Lines:
    if is_ended_wait(event.get("code"), FINAL_STATUS[event.kind]):
        return _not_sent(event)
    return (f"Denied by us: {_trade(event)}", *_reason(event), "Nothing was sent to the broker.")


def _not_sent(event: EventContext) -> Lines:
    return (f"Not sent: {_trade(event)}", *_reason(event), "It will not be sent.")


def _skipped(event: EventContext) -> Lines:
    return (
        f"Skipped: {_trade(event)}",
        *_reason(event),
        "Nothing was sent. Skipped signals are not executed later.",
    )


def _placed(event: EventContext) -> Lines:
    broker_order_id = event.get("broker_order_id")
    return (
        f"Accepted by the broker: {_trade(event)}",
        f"The broker's order number is {broker_order_id}." if broker_order_id else "",
    )


def _rejected(event: EventContext) -> Lines:
    return (f"Rejected by the broker: {_trade(event)}", *_reason(event))


def _failed(event: EventContext) -> Lines:
    return (
        f"Failed, never sent: {_trade(event)}",
        "It is proven that the broker does not have it.",
        *_reason(event),
    )


def _unknown(event: EventContext) -> Lines:
    return (
        f"Unknown: {_trade(event)}",
        "The broker's answer never came, so it is not known yet whether the order is live. The "
        "broker is asked; the order is not sent again.",
        *_reason(event),
    )


def _unexpectedly_live(event: EventContext) -> Lines:
    return (f"Unexpectedly live: {_trade(event)}", *_reason(event))


def _unknown_too_long(event: EventContext) -> Lines:
    return (f"Still unknown: {_trade(event)}", *_reason(event))


def _stuck(event: EventContext) -> Lines:
    return (f"Stuck at the broker: {_trade(event)}", *_reason(event))


def _cancelled(event: EventContext) -> Lines:
    return (f"Cancelled: {_trade(event)}", *_reason(event))


def _changed(event: EventContext) -> Lines:
    changed = {
        name: f"{name.replace('_', ' ')} {before or 'none'} to {now}"
        for name in ("quantity", "limit_price", "stop_price", "stop_loss", "take_profit")
        if (now := _plain(event.get(name))) != (before := _plain(event.get(f"old_{name}")))
    }
    if end := event.get("valid_until"):
        changed["valid_until"] = f"end {event.get('old_valid_until') or 'none'} to {end} UTC"
    by, terms = event.get("by"), list(changed.values())
    is_ours = terms and not changed.keys() - {"stop_loss", "take_profit", "valid_until"}
    return (
        f"{'Changed' if is_ours else 'Changed at the broker'}: {_trade(event)}",
        _capital(f"{', '.join(terms)}.") if terms else "",
        f"Requested by {by}." if by else "",
    )


def _expired(event: EventContext) -> Lines:
    if is_ended_wait(event.get("code"), FINAL_STATUS[event.kind]):
        return _not_sent(event)
    return (f"Expired: {_trade(event)}", *_reason(event))


def _opened(event: EventContext) -> Lines:
    price = event.get("price")
    return (f"Position opened: {_trade(event)}" + (f" at {price}" if price else ""), "")


def _stop_moved(event: EventContext) -> Lines:
    before = event.get("stop_before")
    is_break_even = event.get("rule") == "BREAK_EVEN"
    return (
        f"Stop moved to {event.get('stop')}: {_trade(event)}",
        f"The {'break-even' if is_break_even else 'trailing'} rule moved it"
        + (f" from {before}" if before else "")
        + f" at a price of {event.get('price')}.",
    )


def _closed(event: EventContext) -> Lines:
    result = ""
    gross, costs = _decimal(event.get("pnl")), _decimal(event.get("commission", "0"))
    if gross is not None and costs is not None:
        result = f" with {signed(gross - costs)} {event.get('currency')}".rstrip()
    return (
        f"Closed{result}: {_trade(event)}",
        CLOSED_BY.get(event.get("reason"), ""),
        f"Commission {number(costs, 2)}, part of the result." if costs else "",
        _unconverted_fees(event),
    )


def _unconverted_fees(event: EventContext) -> str:
    fees = event.payload.get("unconverted_fees")
    if not isinstance(fees, dict):
        return ""
    text = unconverted({name: fee for name, value in fees.items() if (fee := _decimal(str(value)))})
    return f"{text}." if text else ""


def _slippage_text(event: EventContext) -> str:
    """Return the slippage with its unit; pips for older events, which have no unit."""
    slippage = event.get("slippage", event.get("slippage_pips"))
    return f"{_signed(slippage)} {unit_label(event.get('slippage_unit'))}" if slippage else ""


def _slippage(event: EventContext) -> Lines:
    expected, filled_at = event.get("expected_price"), event.get("fill_price")
    return (
        f"Slippage {_slippage_text(event)}: {_trade(event)}",
        f"Expected {_plain(expected)}, filled at {_plain(filled_at)}."
        if expected and filled_at
        else "",
        _fill_beyond_limit(event),
    )


def _fill_beyond_limit(event: EventContext) -> str:
    """Return which fill was worse than the limit; older events only have the average price."""
    limit, price = event.get("passed_limit"), event.get("beyond_limit_at")
    if not limit:
        return ""
    lead = f"A fill at {_plain(price)} is beyond the limit" if price else "Beyond its limit"
    return f"{lead} {_plain(limit)}, which this broker does not enforce at the fill."


def _unprotected(event: EventContext) -> Lines:
    seconds, ended = event.get("seconds"), bool(event.payload.get("ended"))
    name = event.get("trade") or f"position {event.get('position')}".strip()
    stop = event.get("stop")
    if ended:
        return (f"Protected again: {name}", f"The position was without its stop for {seconds} s.")
    return (
        f"Without its stop: {name}",
        f"Unprotected for {seconds} s." if seconds else "",
        f"Its stop should be at {stop}." if stop else "",
        *_reason(event),
    )


def _exit_delayed(event: EventContext) -> Lines:
    # Of these exits not all are sent again: the reason's hint lists which.
    is_below_minimum = event.get("code") == Code.EXIT_BELOW_MINIMUM.value
    return (
        f"An exit cannot be sent: {_trade(event)}",
        "The position is still open.",
        "" if is_below_minimum else "The exit is tried again until the position is closed.",
        *_reason(event),
    )


def _connection_error(event: EventContext) -> Lines:
    return (f"{_connection(event)} is in error", event.get("message"))


def _inactive(event: EventContext) -> Lines:
    return (f"No contact with {_connection(event)}", event.get("message"))


def _recovered(event: EventContext) -> Lines:
    return (f"{_connection(event)} works again", "")


def _host_down(event: EventContext) -> Lines:
    failing, contacted = event.get("failing"), event.get("contacted")
    return (
        f"{event.get('host', 'A broker host')} does not answer",
        f"{failing} of {contacted} accounts could not be reached." if failing and contacted else "",
        "Entries wait until it answers; exits are still sent. It is probed automatically.",
        event.get("message"),
    )


def _host_up(event: EventContext) -> Lines:
    return (
        f"{event.get('host', 'A broker host')} answers again",
        "Orders that waited for it are sent now, unless they are too old.",
    )


def _connection(event: EventContext) -> str:
    return event.get("account", event.get("name", "A connection"))


def _drift_found(event: EventContext) -> Lines:
    kind = event.get("kind", event.get("code"))
    code = Code(kind) if kind in Code.__members__ else None
    subject, detail = event.get("subject"), event.get("detail")
    return (
        f"We and the broker differ{f': {subject}' if subject else ''}",
        code.sentence if code else kind,
        _capital(f"{detail}.") if detail else "",
        f"{code.hint if code else ''} Decide it on the account's page, or in the console's drift "
        "inbox.".lstrip(),
    )


def _audit(event: EventContext) -> Lines:
    counters = event.payload.get("counters")
    wrong = [f"{name} {count}" for name, count in _items(counters) if count]
    return ("The audit failed", ", ".join(wrong), event.get("detail"))


def _not_judged(event: EventContext) -> Lines:
    accounts = event.payload.get("accounts")
    accounts = accounts if isinstance(accounts, list) else []
    listed = [account for account in accounts if isinstance(account, dict)]
    count = event.payload.get("count")
    total = count if isinstance(count, int) else len(listed)
    more = total - len(listed)
    return (
        f"The audit could not judge {'1 account' if total == 1 else f'{total} accounts'}",
        *(f"{account.get('name', '')}: {account.get('detail', '')}" for account in listed),
        f"And {more} more." if more > 0 else "",
        "No error is known for them, and nothing is proven. Start the workers that hold their "
        "sessions, or fix their connections; the dashboard lists all of them.",
    )


def _trail_broken(event: EventContext) -> Lines:
    return (
        "The audit trail is broken",
        event.get("detail"),
        "A line was changed, removed or inserted outside Fillcast. Run `manage.py verify_trail` to "
        "see what is wrong, compare the trail with the head that you keep elsewhere, and treat it "
        "as an intrusion until you can explain it (docs/security.md). The alarm stays until a "
        "check passes.",
    )


def _trail_intact(_event: EventContext) -> Lines:
    return ("The audit trail is intact again", "A check of every line has passed.")


def _key_ends_soon(event: EventContext) -> Lines:
    days = event.get("days")
    return (
        f"{_key(event)} ends in {'1 day' if days == '1' else f'{days} days'}",
        f"It stops working at {_utc_minute(event.get('ends_at'))}. Make a new key under Keys, put "
        "it into the program that uses this one, then revoke this one.",
    )


def _key_ended(event: EventContext) -> Lines:
    return (
        f"{_key(event)} has ended",
        f"Calls with it have been refused since {_utc_minute(event.get('ends_at'))}. If a program "
        "still needs it, make a new key under Keys and put it into that program.",
    )


def _password_changed(event: EventContext) -> Lines:
    if event.get("by") != "owner":
        return (
            "An administrator set a new password for you",
            "All your sessions were signed out. Sign in with the new password and change it under "
            "Security. If you did not request it, contact an administrator.",
        )
    address = event.get("address")
    return (
        "Your password was changed",
        f"Changed{f' from the network address {address}' if address else ''}. All other sessions "
        "were signed out; API keys keep working. If you did not do this, ask an administrator for "
        "a new password at once and revoke the API keys that you do not know.",
    )


def _key(event: EventContext) -> str:
    return f"API key “{event.get('name')}” ({event.get('prefix')}…)"


def _utc_minute(moment: str) -> str:
    """Return an ISO time for people: `2026-11-28T12:00:00Z` as `2026-11-28 12:00 UTC`."""
    return moment.replace("T", " ")[:16] + " UTC"


def _scheduler_late(event: EventContext) -> Lines:
    scanned = bool(event.payload.get("scanning"))
    return (
        f"The scheduler (beat) has not run for {seconds} s"
        if (seconds := event.get("seconds"))
        else "The scheduler (beat) has never run",
        "Stops and targets are still checked every minute: the workers do it themselves."
        if scanned
        else "Stops and targets that Fillcast guards are not checked every minute.",
        "Reconciliation, account balances and daily results are not updated. "
        "Restart the scheduler: `make up`, or the `beat` service of your deployment.",
    )


def _scheduler_back(_event: EventContext) -> Lines:
    return ("The scheduler (beat) runs again", "Overdue tasks run now.")


def _kill_switch(event: EventContext) -> Lines:
    mode, scope = event.get("mode"), event.get("scope")
    change = "released" if event.get("change") == "released" else "set"
    effect = KILL_SWITCH_EFFECTS.get(mode, mode)
    return (
        f"Kill switch {change}" + (f": {effect}" if change == "set" and effect else ""),
        KILL_SWITCH_SCOPES.get(scope, "").format(target=event.get("target")),
        event.get("reason"),
        "Entries that have not filled are cancelled." if event.get("cancel_entries") else "",
        "Open positions are closed at the market." if event.get("flatten") else "",
    )


def _loss_limit_reached(event: EventContext) -> Lines:
    closes = event.get("action") == "PAUSE_AND_CLOSE"
    until = event.get("until")
    return (
        "Loss limit reached: entries are paused",
        f"{event.get('detail')}." if event.get("detail") else "",
        "All open positions are being closed."
        if closes
        else "Open positions stay open, with their stops and targets.",
        f"Entries resume at {until}, or earlier by hand."
        if until
        else "Entries resume only by hand, on the account's page.",
    )


def _trading_resumed(event: EventContext) -> Lines:
    by = event.get("by")
    return (
        "Entries resume after a loss limit" + (f", by {by}" if by else ""),
        f"{event.get('detail')}." if event.get("detail") else "",
        "Skipped signals are not executed later.",
    )


def _published(event: EventContext) -> Lines:
    text = event.get("title", event.get("trade"))
    return (
        f"{event.get('signal', 'Signal')} published" + (f": {text}" if text else ""),
        f"Feed {event.get('feed')}." if event.get("feed") else "",
    )


def _alert_refused(event: EventContext) -> Lines:
    verb = "waited too long" if event.get("state") == "EXPIRED" else "was refused"
    return (
        f"An alert of the feed {event.get('feed')} {verb} and was not published",
        f"{event.get('code')}: {event.get('detail')}",
        f"Received {event.get('received')} as alert {event.get('alert')}; the feed's log of alerts"
        " shows it.",
    )


def _telegram_stopped(event: EventContext) -> Lines:
    return (
        f"The Telegram bot {event.get('bot')} of the feed {event.get('feed')} cannot be read",
        f"{event.get('code')}: {event.get('detail')}",
        "Its messages become no signals until this is repaired; see the feed's page Alerts.",
    )


def _channel_test(event: EventContext) -> Lines:
    return ("Fillcast can reach you here", "This is the test message that you requested.")


def _channel_confirmation(event: EventContext) -> Lines:
    return (
        "Confirm this address for Fillcast notifications",
        "A Fillcast user asked to receive notifications at this address "
        f"(channel “{event.get('name')}”). To agree, open this page and confirm:",
        event.get("link"),
        f"Or send the code {event.get('code')} through the API. The link is valid for 48 "
        "hours. If you did not expect this message, ignore it: nothing else is sent here.",
    )


RENDERERS: dict[str, Callable[[EventContext], Lines]] = {
    EventKind.SIGNAL_PUBLISHED: _published,
    EventKind.ALERT_REFUSED: _alert_refused,
    EventKind.TELEGRAM_STOPPED: _telegram_stopped,
    EventKind.ORDER_FILLED: _filled,
    EventKind.ORDER_PARTIALLY_FILLED: _filled,
    EventKind.ORDER_DENIED: _denied,
    EventKind.ORDER_REJECTED: _rejected,
    EventKind.ORDER_SKIPPED: _skipped,
    EventKind.ORDER_PLACED: _placed,
    EventKind.SIGNAL_INCOMPLETE: incomplete,
    EventKind.ORDER_FAILED: _failed,
    EventKind.ORDER_UNKNOWN: _unknown,
    EventKind.ORDER_UNEXPECTEDLY_LIVE: _unexpectedly_live,
    EventKind.ORDER_UNKNOWN_TOO_LONG: _unknown_too_long,
    EventKind.ORDER_STUCK: _stuck,
    EventKind.ORDER_CHANGED: _changed,
    EventKind.ORDER_CANCELLED: _cancelled,
    EventKind.ORDER_EXPIRED: _expired,
    EventKind.POSITION_OPENED: _opened,
    EventKind.POSITION_CLOSED: _closed,
    EventKind.POSITION_UNPROTECTED: _unprotected,
    EventKind.POSITION_STOP_MOVED: _stop_moved,
    EventKind.EXIT_DELAYED: _exit_delayed,
    EventKind.SLIPPAGE_ALERT: _slippage,
    EventKind.CONNECTION_ERROR: _connection_error,
    EventKind.CONNECTION_INACTIVE: _inactive,
    EventKind.CONNECTION_RECOVERED: _recovered,
    EventKind.HOST_DOWN: _host_down,
    EventKind.HOST_UP: _host_up,
    EventKind.DRIFT_FOUND: _drift_found,
    EventKind.AUDIT_FAILED: _audit,
    EventKind.AUDIT_NOT_JUDGED: _not_judged,
    EventKind.API_KEY_ENDS_SOON: _key_ends_soon,
    EventKind.API_KEY_ENDED: _key_ended,
    EventKind.PASSWORD_CHANGED: _password_changed,
    EventKind.AUDIT_TRAIL_BROKEN: _trail_broken,
    EventKind.AUDIT_TRAIL_INTACT: _trail_intact,
    EventKind.KILL_SWITCH: _kill_switch,
    EventKind.LOSS_LIMIT_REACHED: _loss_limit_reached,
    EventKind.TRADING_RESUMED: _trading_resumed,
    EventKind.SCHEDULER_LATE: _scheduler_late,
    EventKind.SCHEDULER_BACK: _scheduler_back,
    EventKind.CHANNEL_TEST: _channel_test,
    EventKind.CHANNEL_CONFIRMATION: _channel_confirmation,
}


def _items(value: object) -> list[tuple[object, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _decimal(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount) < AMOUNT_LIMIT else None


def _plain(text: str) -> str:
    value = _decimal(text)
    return text if value is None else number(value)


def _signed(text: str) -> str:
    value = _decimal(text)
    return text if value is None else signed(value, None)
