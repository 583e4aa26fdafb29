"""One line about one event of several: its title, and the facts that it must not lack. Pure.

The facts are those of the event's own message without its sentences: prices, slippage, the reason
code with limit and value, the plan, the signal and the account.
"""

from collections.abc import Callable, Iterable, Sequence

from common.limit_figures import read_figures
from common.web.formatting import sentence
from events.context import EventContext
from events.messages.merging import FILLS
from events.messages.parts import (
    FINAL_STATUS,
    asked_prices,
    plain_text,
    slippage_text,
)
from events.models import EventKind

TITLE_MAX, FACTS_MAX, LINE_MAX = 160, 130, 480
WITH_REASONS = frozenset(
    {
        EventKind.ORDER_DENIED,
        EventKind.ORDER_SKIPPED,
        EventKind.ORDER_REJECTED,
        EventKind.ORDER_FAILED,
        EventKind.ORDER_UNKNOWN,
        EventKind.ORDER_UNEXPECTEDLY_LIVE,
        EventKind.ORDER_UNKNOWN_TOO_LONG,
        EventKind.ORDER_STUCK,
        EventKind.ORDER_CANCELLED,
        EventKind.ORDER_EXPIRED,
        EventKind.EXIT_DELAYED,
    }
)
"""The kinds whose reason code and figures are stated."""


def line_of(event: EventContext, title: str, body: Sequence[str], *, with_signal: bool) -> str:
    """Return the event's line. title, body: of its own message. with_signal: name the signal."""
    plan = event.get("trade_plan_id")
    parts = [
        shortened(title, TITLE_MAX),
        *_facts(event, body),
        f"plan {plan}" if plan else "",
        event.get("signal") if with_signal else "",
        event.get("account"),
    ]
    return one_line(parts)


def one_line(parts: Iterable[str]) -> str:
    """Return texts as one line: `Filled · slippage +0.3 pips`."""
    text = " · ".join(" ".join(part.split()) for part in parts if part.strip())
    return shortened(text, LINE_MAX)


def fitting(lines: Sequence[str], *, room: int, most: int, what: str = "") -> list[str]:
    """Return the first lines within `room` characters, at most `most`, and how many more there are.

    what: the lines' name in `… and 3 more links.` A first line that alone is too long is shortened.
    """
    kept = list(lines[:most])
    while kept and _length(cut := [*kept, _more(len(lines) - len(kept), what)]) > room:
        if len(kept) == 1:
            rest = _length(cut) - len(kept[0])
            return [shortened(kept[0], max(room - rest, 1)), *filter(None, cut[1:])]
        kept.pop()
    return [*kept, *filter(None, [_more(len(lines) - len(kept), what)])]


def shortened(text: str, most: int) -> str:
    """Return text of at most `most` characters, cut at a word."""
    if len(text) <= most:
        return text
    kept = text[: max(most - 1, 0)]
    end = kept.rfind(" ")
    return (kept[:end] if end > most // 2 else kept).rstrip(" ·,") + "…"


def _more(count: int, what: str) -> str:
    return f"… and {count:,} more{f' {what}' if what else ''}." if count else ""


def _length(lines: Iterable[str]) -> int:
    return len("\n".join(line for line in lines if line))


def _facts(event: EventContext, body: Sequence[str]) -> list[str]:
    if event.kind in FILLS:
        return _of_fill(event)
    if event.kind in WITH_REASONS:
        return [asked_prices(event), reason_text(event)]
    if known := OF_KIND.get(event.kind):
        return known(event)
    return [asked_prices(event), shortened(next(filter(None, body), ""), FACTS_MAX).rstrip(".")]


def reason_text(event: EventContext) -> str:
    """Return `MAX_LEVERAGE: Leverage: 31.2, maximum 30`: the code, and what it found here.

    Figures come first, else the detail of this case, else the code's sentence.
    """
    code, detail = event.get("code"), event.get("detail")
    figures = read_figures(code, event.payload.get("figures"))
    found = (figures.text if figures else "") or detail
    found = found or sentence(code, FINAL_STATUS.get(event.kind, ""))
    found = "" if found == code else shortened(found, FACTS_MAX).rstrip(".")
    return ": ".join(filter(None, (code, found)))


def _of_fill(event: EventContext) -> list[str]:
    slippage = slippage_text(event)
    return [f"slippage {slippage}" if slippage else "", "open" if event.get("is_open") else ""]


def _of_closed(event: EventContext) -> list[str]:
    if last := event.get("exit"):
        return [f"exit {last}"]
    return [event.get("reason").replace("_", " ")]


def _of_unprotected(event: EventContext) -> list[str]:
    if event.payload.get("ended"):
        return [f"without it for {event.get('seconds')} s"]
    seconds, stop = event.get("seconds"), event.get("stop")
    return [
        f"for {seconds} s" if seconds else "",
        f"stop {stop}" if stop else "",
        reason_text(event),
    ]


def _of_slippage(event: EventContext) -> list[str]:
    words = {"expected_price": "expected", "fill_price": "filled at", "passed_limit": "limit"}
    return [
        f"{word} {price}" for name, word in words.items() if (price := plain_text(event.get(name)))
    ]


OF_KIND: dict[str, Callable[[EventContext], list[str]]] = {
    EventKind.POSITION_OPENED: lambda _: [],  # its title has the price
    EventKind.POSITION_CLOSED: _of_closed,
    EventKind.POSITION_UNPROTECTED: _of_unprotected,
    EventKind.SLIPPAGE_ALERT: _of_slippage,
    EventKind.LOSS_LIMIT_REACHED: lambda event: [shortened(event.get("detail"), FACTS_MAX)],
}
