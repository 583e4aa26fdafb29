"""The messages about what became of a signal on all accounts. For operators. Pure.

They count the orders by final status and reason.
"""

from collections.abc import Mapping

from common.ended_orders import was_not_sent_in_time
from common.web.formatting import known_code, sentence
from events.context import EventContext

CODES_MAX, LINES_MAX = 3, 12
LATE = "LATE"  # DENIED and EXPIRED orders whose signal became too old while they waited
STATES = {"REJECTED": "rejected", "SKIPPED": "skipped", LATE: "not sent in time",
          "FAILED": "failed, never sent", "DENIED": "denied by our rules"}  # fmt: skip
IN_TITLE = ("REJECTED", "SKIPPED", LATE, "FAILED")
Counts = Mapping[str, Mapping[str, int]]  # state → reason code → how many orders


def incomplete(event: EventContext) -> tuple[str, ...]:
    """Return title and lines for a signal that did not reach all of its accounts."""
    counts = _grouped(_counts(event.payload.get("orders")))
    candidates = event.payload.get("candidates")
    shares = [
        f"{sum(counts[state].values()):,} {STATES[state]} ({_codes(counts[state])})"
        for state in IN_TITLE
        if counts.get(state)
    ]
    first, *more = shares or ["no order rejected, skipped, late or failed"]
    if shares:
        share, _, rest = first.partition(" ")
        first = f"{share} of {candidates:,} orders {rest}" if isinstance(candidates, int) else first
    correction = "Correction: " if event.payload.get("correction") else ""
    return (
        f"{correction}Signal {_signal(event)}: {', '.join((first, *more))}",
        *_lines(counts),
        _waiting(event),
    )


EXECUTED = {"filled": "filled", "parts": "filled in part", "working": "working at their brokers"}


def executed(event: EventContext) -> tuple[str, ...]:
    """Return title and lines for a signal with what was executed of it, counted."""
    counts = {name: event.payload.get(name) for name in EXECUTED}
    parts = [
        f"{count:,} {EXECUTED[name]}"
        for name, count in counts.items()
        if isinstance(count, int) and count
    ]
    return (f"Signal {_signal(event)}: {', '.join(parts) or 'nothing executed'}", "")


def _signal(event: EventContext) -> str:
    trade = event.get("trade")
    if event.get("action") == "CLOSE":
        trade = f"close {event.get('pair')}"
    return " ".join(filter(None, (event.get("signal"), trade.strip())))


def _codes(reasons: Mapping[str, int]) -> str:
    """Return the most frequent codes with counts: `NO_MONEY 9, MARKET_CLOSED 3`."""
    ranked = _ranked(reasons)
    parts = [f"{code or 'no code'} {count:,}" for code, count in ranked[:CODES_MAX]]
    more = f", {len(ranked) - CODES_MAX} more reasons" if len(ranked) > CODES_MAX else ""
    return ", ".join(parts) + more


def _lines(counts: Counts) -> list[str]:
    lines = []
    for state, name in STATES.items():
        for code, count in _ranked(counts.get(state, {})):
            meaning = sentence(code, _status(state)) if known_code(code) else ""
            lines.append(f"{count:,} {name}: {code or 'no code'}. {meaning}".strip())
    more = len(lines) - LINES_MAX
    return [*lines[:LINES_MAX], f"… and {more:,} more reasons."] if more > 0 else lines


def _waiting(event: EventContext) -> str:
    unsettled = event.payload.get("unsettled")
    if not isinstance(unsettled, int) or not unsettled:
        return ""
    orders = "1 order is" if unsettled == 1 else f"{unsettled:,} orders are"
    if event.payload.get("correction") or event.payload.get("is_last"):
        return f"{orders} not settled yet. No further message follows: see the signal's page."
    return f"{orders} not settled yet. One correction follows if the numbers change."


def _ranked(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def _grouped(orders: Counts) -> dict[str, dict[str, int]]:
    """Return the counts with the orders that were not sent in time as a state of their own."""
    grouped: dict[str, dict[str, int]] = {}
    for status, reasons in orders.items():
        for code, count in reasons.items() if isinstance(reasons, dict) else ():
            state = LATE if was_not_sent_in_time(code, status) else status
            reason_counts = grouped.setdefault(state, {})
            reason_counts[code] = reason_counts.get(code, 0) + count
    return grouped


def _status(state: str) -> str:
    return "DENIED" if state == LATE else state


def _counts(value: object) -> Counts:
    return value if isinstance(value, dict) else {}
