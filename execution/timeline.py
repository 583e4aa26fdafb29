"""An order's way as a page tells it: steps in order, with the time that each took. Pure.

What each step is called differs between operators and owners, and stands with their pages.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from common.formatting import STATES, milliseconds
from execution.models import Fill, Order

END_CSS = {"FILLED": "is-good", "REJECTED": "is-hot", "FAILED": "is-hot"}


@dataclass(frozen=True, slots=True)
class Step:
    """One line. css: `is-good` for what moved the trade, `is-hot` for what needs someone."""

    at: datetime | None
    since: str
    title: str
    text: str
    css: str = ""


Line = tuple[datetime, str, str, str]
"""A step that was taken: when, title, text, css."""


def in_order(order: Order, taken: Iterable[Line], *, now: str) -> list[Step]:
    """Every step taken with the time since the one before, and `now`, where the order stands.

    Lines of the same moment stay in the order in which they are given.
    """
    made, before = [], None
    for at, title, text, css in sorted(taken, key=lambda line: line[0]):
        since = f"+{milliseconds(at - before)} ms" if before else ""
        made.append(Step(at, since, title, text, f"is-done {css}".strip()))
        before = at
    if order.done_at is None:
        made.append(Step(None, "", STATES[order.status].word, now))
    return made


def at_the_broker(order: Order) -> str:
    """What the broker calls it; empty until it said so."""
    return f"There it is {order.broker_order_id}." if order.broker_order_id else ""


def about_fill(fill: Fill, *, cost: str = "") -> str:
    """Which fill it is, at what time of the broker's, and how sure that is."""
    text = f"{fill.broker_fill_id}, the broker’s own time {fill.time:%H:%M:%S}.{cost}"
    if fill.inferred:
        text += " Inferred from a cumulative quantity; the real fill replaces it."
    return text
