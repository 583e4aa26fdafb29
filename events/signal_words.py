"""What became of a signal's orders, for operators: counts by state and reason. Pure."""

from collections.abc import Mapping

from common.codes import Code
from events.facts import Happening

CODES_MAX, LINES_MAX = 3, 12
STATES = {"REJECTED": "rejected", "SKIPPED": "skipped", "DENIED": "denied by our rules",
          "FAILED": "failed, never sent"}  # fmt: skip
IN_TITLE = ("REJECTED", "SKIPPED")
Counts = Mapping[str, Mapping[str, int]]  # state → reason code → how many orders


def incomplete(happening: Happening) -> tuple[str, ...]:
    """Return title and lines for a signal with rejected or skipped orders."""
    counts = _counts(happening.payload.get("orders"))
    candidates = happening.payload.get("candidates")
    shares = [
        f"{sum(counts[state].values()):,} {STATES[state]} ({_codes(counts[state])})"
        for state in IN_TITLE
        if counts.get(state)
    ]
    first, *more = shares or ["no order rejected or skipped"]
    if shares:
        share, _, rest = first.partition(" ")
        first = f"{share} of {candidates:,} orders {rest}" if isinstance(candidates, int) else first
    correction = "Correction: " if happening.payload.get("correction") else ""
    return (
        f"{correction}Signal {_signal(happening)}: {', '.join((first, *more))}",
        *_lines(counts),
        _waiting(happening),
    )


def _signal(happening: Happening) -> str:
    trade = happening.tell("trade")
    if happening.tell("action") == "CLOSE":
        trade = f"close {happening.tell('pair')}"
    return " ".join(filter(None, (happening.tell("signal"), trade.strip())))


def _codes(reasons: Mapping[str, int]) -> str:
    """`NO_MONEY 9, MARKET_CLOSED 3`: the most frequent ones."""
    ranked = _ranked(reasons)
    shown = [f"{code or 'no code'} {count:,}" for code, count in ranked[:CODES_MAX]]
    more = f", {len(ranked) - CODES_MAX} more reasons" if len(ranked) > CODES_MAX else ""
    return ", ".join(shown) + more


def _lines(counts: Counts) -> list[str]:
    lines = []
    for state, name in STATES.items():
        for code, count in _ranked(counts.get(state, {})):
            sentence = Code(code).sentence if code in Code.__members__ else ""
            lines.append(f"{count:,} {name}: {code or 'no code'}. {sentence}".strip())
    more = len(lines) - LINES_MAX
    return [*lines[:LINES_MAX], f"… and {more:,} more reasons."] if more > 0 else lines


def _waiting(happening: Happening) -> str:
    unsettled = happening.payload.get("unsettled")
    if not isinstance(unsettled, int) or not unsettled:
        return ""
    orders = "1 order is" if unsettled == 1 else f"{unsettled:,} orders are"
    if happening.payload.get("correction"):
        return f"{orders} not settled yet. No further message follows: see the signal's page."
    return f"{orders} not settled yet. One correction follows if the numbers change."


def _ranked(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda one: (-one[1], one[0]))


def _counts(value: object) -> Counts:
    return value if isinstance(value, dict) else {}
