"""A fill and the position that it opened or closed are one thing for people. Pure.

The database writes both events in one statement. In a message that has both, the fill of an entry
stands for its position, and a closed position also states its last exit.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from events.context import EventContext
from events.messages.parts import slippage_text
from events.models import EventKind

FILLS = frozenset({EventKind.ORDER_FILLED, EventKind.ORDER_PARTIALLY_FILLED})


def merged(events: Sequence[EventContext]) -> list[EventContext]:
    """Return the events with one in place of each fill and position event of the same order."""
    fills = _fills(events)
    taken: set[int] = set()
    added: dict[int, dict[str, str]] = {}
    for event in events:
        position = event.get("position")
        if event.kind == EventKind.POSITION_OPENED:
            if fills[position, True]:
                taken.add(event.id)
        elif event.kind == EventKind.POSITION_CLOSED:
            exits = fills[position, False]
            if fill := _newest(_closing(event, exits) or exits):
                taken.add(fill.id)
                added[event.id] = {"exit": _exit(fill)}
    return [
        replace(event, facts={**event.facts, **added[event.id]}) if event.id in added else event
        for event in events
        if event.id not in taken
    ]


def _fills(events: Iterable[EventContext]) -> dict[tuple[str, bool], list[EventContext]]:
    """Return the fills by the position that they belong to, and whether they are of its entry."""
    found: dict[tuple[str, bool], list[EventContext]] = defaultdict(list)
    for event in events:
        if event.kind in FILLS and (position := event.get("position")):
            found[position, event.get("leg").startswith("entry")].append(event)
    return found


def _closing(event: EventContext, exits: Iterable[EventContext]) -> list[EventContext]:
    leg = event.get("closing_leg")
    return [fill for fill in exits if leg and _begins(fill.get("leg")) == leg]


def _begins(leg: str) -> str:
    """Return how a leg begins: `sl` of `sl`, `sl-2` and `sl+2`, a further order of its request."""
    return leg.partition("+")[0].partition("-")[0]


def _newest(events: Sequence[EventContext]) -> EventContext | None:
    return max(events, key=lambda event: event.id, default=None)


def _exit(fill: EventContext) -> str:
    """Return an exit's fill in words: `sl, Sell 10,000 EUR/USD at 1.0950, slippage +0.3 pips`."""
    leg, trade, price = fill.get("leg"), fill.get("trade"), fill.get("price")
    slippage = slippage_text(fill)
    at = " ".join(filter(None, (trade, f"at {price}" if price else "")))
    return ", ".join(filter(None, (leg, at, f"slippage {slippage}" if slippage else "")))
