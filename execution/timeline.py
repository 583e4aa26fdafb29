"""The timeline of an order on a page: its steps in order, each with its duration. Pure.

Operators and owners see different texts: those are with their pages.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from common.formatting import STATES, milliseconds
from execution.models import Fill, Order

END_CSS = {"FILLED": "is-good", "REJECTED": "is-hot", "FAILED": "is-hot"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step. css: `is-good` if it advanced the trade, `is-hot` if a person has to act."""

    at: datetime | None
    since: str
    title: str
    text: str
    css: str = ""


CompletedStep = tuple[datetime, str, str, str]
"""A completed step: time, title, text, css."""


def build_steps(order: Order, completed: Iterable[CompletedStep], *, now: str) -> list[Step]:
    """Return the completed steps with the time since the previous one, then the present state.

    now: the text of the present state, unless the order has ended. Steps of the same time keep
    their order.
    """
    steps, previous = [], None
    for at, title, text, css in sorted(completed, key=lambda line: line[0]):
        since = f"+{milliseconds(at - previous)} ms" if previous else ""
        steps.append(Step(at, since, title, text, f"is-done {css}".strip()))
        previous = at
    if order.done_at is None:
        steps.append(Step(None, "", STATES[order.status].word, now))
    return steps


def broker_order_text(order: Order) -> str:
    """Return a sentence with the broker's order id; empty until it is known."""
    return f"The broker's order id is {order.broker_order_id}." if order.broker_order_id else ""


def fill_text(fill: Fill, *, cost: str = "") -> str:
    """Return a fill's broker id, its broker time, its cost, and whether it is inferred."""
    text = f"{fill.broker_fill_id}, broker’s time {fill.time:%H:%M:%S}.{cost}"
    if fill.inferred:
        text += " Inferred from a cumulative quantity; the broker’s own report of it replaces it."
    return text
