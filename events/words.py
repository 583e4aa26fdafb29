"""Events in plain words, pure. Denied is us, rejected is the broker, failed never left, unknown
nobody knows: never mixed up."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from common.codes import Code
from common.ended_waits import is_ended_wait
from common.shown import hint, number, sentence, signed, unconverted
from common.units import word_of
from events.facts import Happening
from events.models import EventKind
from events.signal_words import incomplete

TITLE_MAX, LINES_MAX = 200, 10
Sentences = tuple[str, ...]

# kind → (of one, of several). The order is that of a summary: what needs someone comes first.
COUNTED: dict[str, tuple[str, str]] = {
    EventKind.SCHEDULER_LATE: ("scheduler is late", "schedulers are late"),
    EventKind.AUDIT_TRAIL_BROKEN: ("audit trail broken", "audit trails broken"),
    EventKind.AUDIT_FAILED: ("audit failed", "audits failed"),
    EventKind.AUDIT_NOT_JUDGED: (
        "audit could not judge accounts",
        "audits could not judge accounts",
    ),
    EventKind.POSITION_UNPROTECTED: ("position without its stop", "positions without their stops"),
    EventKind.EXIT_DELAYED: ("exit that cannot be sent", "exits that cannot be sent"),
    EventKind.ORDER_RISEN: ("given-up order is live", "given-up orders are live"),
    EventKind.ORDER_LIMBO: ("order unknown for long", "orders unknown for long"),
    EventKind.ORDER_STUCK: ("order stuck at the broker", "orders stuck at the broker"),
    EventKind.HOST_AWAY: ("broker host that does not answer", "broker hosts that do not answer"),
    EventKind.ORDER_UNKNOWN: ("order unknown", "orders unknown"),
    EventKind.ORDER_FAILED: ("order failed, never left", "orders failed, never left"),
    EventKind.ORDER_REJECTED: ("order rejected by the broker", "orders rejected by the broker"),
    EventKind.ORDER_DENIED: ("order denied by us", "orders denied by us"),
    EventKind.SIGNAL_INCOMPLETE: (
        "signal that did not reach all accounts",
        "signals that did not reach all accounts",
    ),
    EventKind.ORDER_SKIPPED: ("order skipped", "orders skipped"),
    EventKind.CONNECTION_ERROR: ("connection in error", "connections in error"),
    EventKind.CONNECTION_SILENT: ("connection not heard of", "connections not heard of"),
    EventKind.DRIFT_FOUND: ("difference from a broker", "differences from brokers"),
    EventKind.PASSWORD_CHANGED: ("password changed", "passwords changed"),
    EventKind.API_KEY_ENDED: ("API key has ended", "API keys have ended"),
    EventKind.API_KEY_ENDS_SOON: ("API key ends soon", "API keys end soon"),
    EventKind.KILL_SWITCH: ("kill switch changed", "kill switches changed"),
    EventKind.SLIPPAGE_ALERT: ("slippage alert", "slippage alerts"),
    EventKind.ORDER_PLACED: ("order accepted by the broker", "orders accepted by the broker"),
    EventKind.ORDER_FILLED: ("order filled", "orders filled"),
    EventKind.ORDER_PARTIALLY_FILLED: ("order partly filled", "orders partly filled"),
    EventKind.ORDER_EXPIRED: ("order expired", "orders expired"),
    EventKind.ORDER_CANCELLED: ("order cancelled", "orders cancelled"),
    EventKind.POSITION_OPENED: ("position opened", "positions opened"),
    EventKind.POSITION_CLOSED: ("position closed", "positions closed"),
    EventKind.HOST_BACK: ("broker host answers again", "broker hosts answer again"),
    EventKind.CONNECTION_RECOVERED: ("connection works again", "connections work again"),
    EventKind.SCHEDULER_BACK: ("scheduler works again", "schedulers work again"),
    EventKind.AUDIT_TRAIL_INTACT: ("audit trail intact again", "audit trails intact again"),
    EventKind.SIGNAL_PUBLISHED: ("signal published", "signals published"),
    EventKind.CHANNEL_TEST: ("test message", "test messages"),
    EventKind.CHANNEL_CONFIRMATION: ("confirmation message", "confirmation messages"),
}
NOT_SENT = "order.denied, not in time"  # no kind of its own: counted apart in a summary
NOT_SENT_WORDS = ("order not sent in time", "orders not sent in time")
RANKS = [*COUNTED]
RANKS.insert(RANKS.index(EventKind.ORDER_DENIED) + 1, NOT_SENT)
LARGEST = Decimal(10) ** 20  # an amount that can be stored is below it
CLOSED_BY = {
    "sl": "The stop loss was hit.",
    "tp": "The take profit was hit.",
    "manual": "Closed through us.",
    "external_close": "Closed by its owner at the broker.",
    "dust": "What was left is too small to sell: it stays in the account, and in no position.",
}
ENDS: dict[str, str] = {
    EventKind.ORDER_DENIED: "DENIED",
    EventKind.ORDER_EXPIRED: "EXPIRED",
    EventKind.ORDER_REJECTED: "REJECTED",
    EventKind.ORDER_FAILED: "FAILED",
}
"""The state in which an order is when such an event is written."""
HALTED_FOR = {
    "ALL": "For everybody.",
    "FEED": "For one feed.",
    "USER": "For all accounts of one owner.",
    "CONNECTION": "For one connection.",
}
HALTED = {"REDUCING": "exits only", "HALTED": "nothing is sent"}


@dataclass(frozen=True, slots=True)
class Words:
    title: str
    body: str


def describe(happening: Happening) -> Words:
    """Return title and body of one event. What is not known is left out, never made up."""
    writer = WRITERS.get(happening.kind, _by_count)
    title, *body = writer(happening)
    where = ", ".join(
        text for text in (happening.tell("account"), happening.tell("signal")) if text
    )
    lines = [*body, f"{where}." if where else ""]
    return Words(title[:TITLE_MAX], "\n".join(line for line in lines if line))


def summarize(happenings: Sequence[Happening]) -> Words:
    """Return one message for several events: counts in the title, a line each in the body."""
    if len(happenings) == 1:
        return describe(happenings[0])
    counts = Counter(_counted_as(happening) for happening in happenings)
    kinds = sorted(counts, key=_rank)
    title = ", ".join(_count(kind, counts[kind]) for kind in kinds)
    if len({happening.tell("signal") for happening in happenings}) == 1:
        signal = happenings[0].tell("signal")
        title += f": {signal}" if signal else ""
    by_rank = sorted(happenings, key=lambda one: (_rank(_counted_as(one)), one.id))
    lines = [_line(happening) for happening in by_rank[:LINES_MAX]]
    if more := len(happenings) - LINES_MAX:
        lines += [f"… and {more:,} more."] if more > 0 else []
    return Words(title[:TITLE_MAX], "\n".join(lines))


def _counted_as(happening: Happening) -> str:
    """Its kind; what ended unsent while it waited was refused by nobody and is counted apart."""
    is_unsent = is_ended_wait(happening.tell("code"), ENDS.get(happening.kind, ""))
    return NOT_SENT if is_unsent else happening.kind


def _rank(kind: str) -> int:
    return RANKS.index(kind) if kind in RANKS else len(RANKS)


def _line(happening: Happening) -> str:
    account = happening.tell("account")
    return describe(happening).title + (f" · {account}" if account else "")


def _count(kind: str, count: int) -> str:
    one, several = NOT_SENT_WORDS if kind == NOT_SENT else COUNTED.get(kind, (kind, kind))
    return f"{count:,} {one if count == 1 else several}"


def _by_count(happening: Happening) -> Sentences:
    return (_capital(COUNTED.get(happening.kind, (happening.kind, ""))[0]), "")


def _trade(happening: Happening) -> str:
    leg = happening.tell("leg")
    exit_leg = f" ({leg})" if leg and not leg.startswith("entry") else ""
    name = f"order {happening.order_id}" if happening.order_id else "order"
    return happening.tell("trade", happening.tell("title", name)) + exit_leg


def _reason(happening: Happening) -> Sentences:
    """The code's sentence, this case's detail, what to do, and the code itself below them."""
    name, detail = happening.tell("code"), happening.tell("detail")
    code = Code(name) if name in Code.__members__ else None
    if code is None:
        return (detail, name)
    detail = "" if detail == code.sentence else detail
    status = ENDS.get(happening.kind, "")
    return (sentence(code, status), detail, hint(code, status), f"Code {code.value}")


def _filled(happening: Happening) -> Sentences:
    word = "Filled" if happening.kind == EventKind.ORDER_FILLED else "Partly filled"
    price = happening.tell("price", happening.tell("avg_fill_price"))
    slippage = _slipped(happening)
    return (
        f"{word}: {_trade(happening)}" + (f" at {price}" if price else ""),
        f"Slippage {slippage}, + is worse." if slippage else "",
    )


def _denied(happening: Happening) -> Sentences:
    if is_ended_wait(happening.tell("code"), ENDS[happening.kind]):
        return _not_sent(happening)
    return (f"Denied by us: {_trade(happening)}", *_reason(happening), "The broker was not asked.")


def _not_sent(happening: Happening) -> Sentences:
    return (f"Not sent: {_trade(happening)}", *_reason(happening), "It is not sent any more.")


def _skipped(happening: Happening) -> Sentences:
    return (
        f"Skipped: {_trade(happening)}",
        *_reason(happening),
        "Nothing was sent. Skipped signals are not executed later.",
    )


def _placed(happening: Happening) -> Sentences:
    number_there = happening.tell("broker_order_id")
    return (
        f"Accepted by the broker: {_trade(happening)}",
        f"Its number there is {number_there}." if number_there else "",
    )


def _rejected(happening: Happening) -> Sentences:
    return (f"Rejected by the broker: {_trade(happening)}", *_reason(happening))


def _failed(happening: Happening) -> Sentences:
    return (
        f"Failed, never left: {_trade(happening)}",
        "It is proven that the broker does not have it.",
        *_reason(happening),
    )


def _unknown(happening: Happening) -> Sentences:
    return (
        f"Unknown: {_trade(happening)}",
        "The broker's answer never came, so nobody knows yet whether it is live. The broker is "
        "asked; it is not sent again.",
        *_reason(happening),
    )


def _risen(happening: Happening) -> Sentences:
    return (f"Live after all: {_trade(happening)}", *_reason(happening))


def _limbo(happening: Happening) -> Sentences:
    return (f"Still unknown: {_trade(happening)}", *_reason(happening))


def _stuck(happening: Happening) -> Sentences:
    return (f"Stuck at the broker: {_trade(happening)}", *_reason(happening))


def _cancelled(happening: Happening) -> Sentences:
    return (f"Cancelled: {_trade(happening)}", *_reason(happening))


def _expired(happening: Happening) -> Sentences:
    if is_ended_wait(happening.tell("code"), ENDS[happening.kind]):
        return _not_sent(happening)
    return (f"Expired: {_trade(happening)}", *_reason(happening))


def _opened(happening: Happening) -> Sentences:
    price = happening.tell("price")
    return (f"Position opened: {_trade(happening)}" + (f" at {price}" if price else ""), "")


def _closed(happening: Happening) -> Sentences:
    result = ""
    gross, costs = _decimal(happening.tell("pnl")), _decimal(happening.tell("commission", "0"))
    if gross is not None and costs is not None:
        result = f" with {signed(gross - costs)} {happening.tell('currency')}".rstrip()
    return (
        f"Closed{result}: {_trade(happening)}",
        CLOSED_BY.get(happening.tell("reason"), ""),
        f"Commission {number(costs, 2)}, part of the result." if costs else "",
        _beside(happening),
    )


def _beside(happening: Happening) -> str:
    fees = happening.payload.get("unconverted_fees")
    if not isinstance(fees, dict):
        return ""
    told = unconverted({name: fee for name, text in fees.items() if (fee := _decimal(str(text)))})
    return f"{told}." if told else ""


def _slipped(happening: Happening) -> str:
    """How far from the expected price, with its unit; events from before there were units: pips."""
    told = happening.tell("slippage", happening.tell("slippage_pips"))
    return f"{_signed(told)} {word_of(happening.tell('slippage_unit'))}" if told else ""


def _slippage(happening: Happening) -> Sentences:
    expected, got = happening.tell("expected_price"), happening.tell("fill_price")
    return (
        f"Slippage {_slipped(happening)}: {_trade(happening)}",
        f"Expected {_plain(expected)}, filled at {_plain(got)}." if expected and got else "",
        _beyond_limit(happening),
    )


def _beyond_limit(happening: Happening) -> str:
    """Which fill was worse than the limit; events of before state only that the average was."""
    limit, price = happening.tell("passed_limit"), happening.tell("beyond_limit_at")
    if not limit:
        return ""
    what = f"A fill at {_plain(price)} is beyond the limit" if price else "Beyond its limit"
    return f"{what} {_plain(limit)}, which this broker does not enforce at the fill."


def _unprotected(happening: Happening) -> Sentences:
    seconds, ended = happening.tell("seconds"), bool(happening.payload.get("ended"))
    name = happening.tell("trade") or f"position {happening.tell('position')}".strip()
    stop = happening.tell("stop")
    if ended:
        return (f"Protected again: {name}", f"It was without its stop for {seconds} s.")
    return (
        f"Without its stop: {name}",
        f"Unprotected for {seconds} s." if seconds else "",
        f"Its stop should stand at {stop}." if stop else "",
        *_reason(happening),
    )


def _delayed(happening: Happening) -> Sentences:
    # Which exits of those are sent again is in the reason's hint: not all are.
    is_held_back = happening.tell("code") == Code.EXIT_BELOW_MINIMUM.value
    return (
        f"An exit cannot be sent: {_trade(happening)}",
        "The position is still open.",
        "" if is_held_back else "It is tried again until it is closed.",
        *_reason(happening),
    )


def _connection_error(happening: Happening) -> Sentences:
    return (f"{_connection(happening)} is in error", happening.tell("message"))


def _silent(happening: Happening) -> Sentences:
    return (f"Nothing is heard of {_connection(happening)}", happening.tell("message"))


def _recovered(happening: Happening) -> Sentences:
    return (f"{_connection(happening)} works again", "")


def _host_away(happening: Happening) -> Sentences:
    failing, of = happening.tell("failing"), happening.tell("spoken_to")
    return (
        f"{happening.tell('host', 'A broker host')} does not answer",
        f"{failing} of {of} accounts could not be reached." if failing and of else "",
        "Entries wait for it, exits are sent all the same. It is probed until it answers.",
        happening.tell("message"),
    )


def _host_back(happening: Happening) -> Sentences:
    return (
        f"{happening.tell('host', 'A broker host')} answers again",
        "What waited for it and is not too old is sent now.",
    )


def _connection(happening: Happening) -> str:
    return happening.tell("account", happening.tell("name", "A connection"))


def _drift(happening: Happening) -> Sentences:
    kind = happening.tell("kind", happening.tell("code"))
    code = Code(kind) if kind in Code.__members__ else None
    about, differs = happening.tell("subject"), happening.tell("detail")
    return (
        f"We and the broker differ{f': {about}' if about else ''}",
        code.sentence if code else kind,
        _capital(f"{differs}.") if differs else "",
        f"{code.hint if code else ''} Decide it on the account's page, or in the console's drift "
        "inbox.".lstrip(),
    )


def _audit(happening: Happening) -> Sentences:
    counters = happening.payload.get("counters")
    wrong = [f"{name} {count}" for name, count in _items(counters) if count]
    return ("The audit failed", ", ".join(wrong), happening.tell("detail"))


def _not_judged(happening: Happening) -> Sentences:
    accounts = happening.payload.get("accounts")
    named = [one for one in accounts if isinstance(one, dict)] if isinstance(accounts, list) else []
    count = happening.payload.get("count")
    many = count if isinstance(count, int) else len(named)
    what = "1 account" if many == 1 else f"{many} accounts"
    more = many - len(named)
    return (
        f"The audit could not judge {what}",
        *(f"{one.get('name', '')}: {one.get('detail', '')}" for one in named),
        f"And {more} more." if more > 0 else "",
        "Nothing is known to be wrong, and nothing is proven for them. Start the workers that hold "
        "their sessions or mend their connections; the dashboard shows all of them.",
    )


def _trail_broken(happening: Happening) -> Sentences:
    return (
        "The audit trail is broken",
        happening.tell("detail"),
        "A line was changed, removed or inserted outside Fillcast. Run `manage.py verify_trail` to "
        "see what is wrong, compare it with the head that you keep elsewhere, and treat it as an "
        "intrusion until it is explained (docs/security.md). The alarm stays until a check passes.",
    )


def _trail_intact(_happening: Happening) -> Sentences:
    return ("The audit trail is intact again", "A check of every line has passed.")


def _key_ends_soon(happening: Happening) -> Sentences:
    days = happening.tell("days")
    return (
        f"{_key(happening)} ends in {'1 day' if days == '1' else f'{days} days'}",
        f"It stops working at {_minute(happening.tell('ends_at'))}. Make a new key under Keys, put "
        "it into the program that uses this one, then revoke this one.",
    )


def _key_ended(happening: Happening) -> Sentences:
    return (
        f"{_key(happening)} has ended",
        f"Calls with it are refused since {_minute(happening.tell('ends_at'))}. If a program still "
        "needs it, make a new key under Keys and put it in there.",
    )


def _password_changed(happening: Happening) -> Sentences:
    if happening.tell("by") != "owner":
        return (
            "An administrator set a new password for you",
            "All your sessions were signed out. Sign in with the new password and change it under "
            "Security. If you did not ask for it, contact an administrator.",
        )
    address = happening.tell("address")
    return (
        "Your password was changed",
        f"Changed{f' from the network address {address}' if address else ''}. All other sessions "
        "were signed out; API keys keep working. If you did not do this, ask an administrator for "
        "a new password at once and revoke the API keys that you do not know.",
    )


def _key(happening: Happening) -> str:
    return f"API key “{happening.tell('name')}” ({happening.tell('prefix')}…)"


def _minute(moment: str) -> str:
    """`2026-11-28T12:00:00Z` as people read it."""
    return moment.replace("T", " ")[:16] + " UTC"


def _scheduler_late(happening: Happening) -> Sentences:
    scanned = bool(happening.payload.get("scanning"))
    return (
        f"The scheduler (beat) has not run for {seconds} s"
        if (seconds := happening.tell("seconds"))
        else "The scheduler (beat) has never run",
        "Stops and targets are still checked each minute: the workers do it themselves."
        if scanned
        else "Stops and targets that Fillcast guards are not checked each minute.",
        "Reconciliation, account balances and daily results stand still. "
        "Restart the scheduler: `make up`, or the `beat` service of your deployment.",
    )


def _scheduler_back(_happening: Happening) -> Sentences:
    return ("The scheduler (beat) runs again", "What was due is done now.")


def _kill_switch(happening: Happening) -> Sentences:
    mode, scope = happening.tell("mode"), happening.tell("scope")
    change = "released" if happening.tell("change") == "released" else "set"
    what = HALTED.get(mode, mode)
    return (
        f"Kill switch {change}" + (f": {what}" if change == "set" and what else ""),
        HALTED_FOR.get(scope, ""),
        happening.tell("reason"),
    )


def _published(happening: Happening) -> Sentences:
    text = happening.tell("title", happening.tell("trade"))
    return (
        f"{happening.tell('signal', 'Signal')} published" + (f": {text}" if text else ""),
        f"Feed {happening.tell('feed')}." if happening.tell("feed") else "",
    )


def _test(happening: Happening) -> Sentences:
    return ("Fillcast can reach you here", "This is the test message that you asked for.")


def _confirmation(happening: Happening) -> Sentences:
    return (
        "Confirm this address for Fillcast notifications",
        f"Somebody with an account at Fillcast wants its notifications sent here "
        f"(channel “{happening.tell('name')}”). To agree, open this page and confirm:",
        happening.tell("link"),
        f"Or send the code {happening.tell('code')} through the API. The link is valid for 48 "
        "hours. If you do not know what this is about, do nothing: nothing else is sent here.",
    )


WRITERS: dict[str, Callable[[Happening], Sentences]] = {
    EventKind.SIGNAL_PUBLISHED: _published,
    EventKind.ORDER_FILLED: _filled,
    EventKind.ORDER_PARTIALLY_FILLED: _filled,
    EventKind.ORDER_DENIED: _denied,
    EventKind.ORDER_REJECTED: _rejected,
    EventKind.ORDER_SKIPPED: _skipped,
    EventKind.ORDER_PLACED: _placed,
    EventKind.SIGNAL_INCOMPLETE: incomplete,
    EventKind.ORDER_FAILED: _failed,
    EventKind.ORDER_UNKNOWN: _unknown,
    EventKind.ORDER_RISEN: _risen,
    EventKind.ORDER_LIMBO: _limbo,
    EventKind.ORDER_STUCK: _stuck,
    EventKind.ORDER_CANCELLED: _cancelled,
    EventKind.ORDER_EXPIRED: _expired,
    EventKind.POSITION_OPENED: _opened,
    EventKind.POSITION_CLOSED: _closed,
    EventKind.POSITION_UNPROTECTED: _unprotected,
    EventKind.EXIT_DELAYED: _delayed,
    EventKind.SLIPPAGE_ALERT: _slippage,
    EventKind.CONNECTION_ERROR: _connection_error,
    EventKind.CONNECTION_SILENT: _silent,
    EventKind.CONNECTION_RECOVERED: _recovered,
    EventKind.HOST_AWAY: _host_away,
    EventKind.HOST_BACK: _host_back,
    EventKind.DRIFT_FOUND: _drift,
    EventKind.AUDIT_FAILED: _audit,
    EventKind.AUDIT_NOT_JUDGED: _not_judged,
    EventKind.API_KEY_ENDS_SOON: _key_ends_soon,
    EventKind.API_KEY_ENDED: _key_ended,
    EventKind.PASSWORD_CHANGED: _password_changed,
    EventKind.AUDIT_TRAIL_BROKEN: _trail_broken,
    EventKind.AUDIT_TRAIL_INTACT: _trail_intact,
    EventKind.KILL_SWITCH: _kill_switch,
    EventKind.SCHEDULER_LATE: _scheduler_late,
    EventKind.SCHEDULER_BACK: _scheduler_back,
    EventKind.CHANNEL_TEST: _test,
    EventKind.CHANNEL_CONFIRMATION: _confirmation,
}


def _items(value: object) -> list[tuple[object, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < LARGEST else None


def _plain(text: str) -> str:
    value = _decimal(text)
    return text if value is None else number(value)


def _signed(text: str) -> str:
    value = _decimal(text)
    return text if value is None else signed(value, None)
