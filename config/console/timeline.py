"""An order's way, step by step, with the time that each took."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from common.money import plain
from common.shown import STATES, hint, milliseconds, number
from config.console.candidates import in_words
from execution.models import Fill, Order


@dataclass(frozen=True, slots=True)
class Step:
    """One line. css: `is-good` for what moved the trade, `is-hot` for what needs someone."""

    at: datetime | None
    since: str
    title: str
    text: str
    css: str = ""


def timeline(order: Order, fills: Iterable[Fill]) -> list[Step]:
    """Every step that the order took, each with the time since the one before."""
    steps = sorted(_taken(order, fills), key=lambda step: (step[0], step[4]))
    made, before = [], None
    for at, title, text, css, _ in steps:
        since = f"+{milliseconds(at - before)} ms" if before else ""
        made.append(Step(at, since, title, text, f"is-done {css}".strip()))
        before = at
    if order.done_at is None:
        made.append(Step(None, "", STATES[order.status].word, in_words(order)))
    return made


Line = tuple[datetime, str, str, str, int]


def _taken(order: Order, fills: Iterable[Fill]) -> Iterator[Line]:
    yield order.created_at, "Written", "in the publish transaction" if order.is_entry else (
        "the exit and the quantity that it reserves"), "", 0  # fmt: skip
    if order.validated_at:
        yield (
            order.validated_at,
            f"Sized and checked: {number(order.quantity)}",
            _sizing(order),
            "",
            1,
        )
    if order.submitted_at:
        text = f"{order.client_order_id} was on disk before the first byte left."
        yield order.submitted_at, "Intent saved, then sent", text, "", 2
    if order.acknowledged_at:
        at_broker = f"There it is {order.broker_order_id}." if order.broker_order_id else ""
        yield order.acknowledged_at, "The broker answered", at_broker, "", 3
    found = list(fills)
    for fill in found:
        told = f"{fill.broker_fill_id}, the broker’s own time {fill.time:%H:%M:%S}."
        if fill.inferred:
            told += " Inferred from a cumulative quantity; the real fill replaces it."
        title = f"Filled {number(fill.quantity)} at {plain(fill.price)}"
        yield fill.recorded_at, title, told, "is-good", 4
    if order.done_at and not (found and order.status == "FILLED"):
        yield order.done_at, *_end(order), 5


def _sizing(order: Order) -> str:
    price = f"Expected at {plain(order.expected_price)}. " if order.expected_price else ""
    if order.risk is None and order.margin is None:
        return f"{price}All limits hold."
    figures = [("at risk", order.risk), ("margin", order.margin)]
    told = ", ".join(f"{name} {number(value, 2)}" for name, value in figures if value is not None)
    return f"{price}In the account’s currency: {told}."


def _end(order: Order) -> tuple[str, str, str]:
    css = {"FILLED": "is-good", "REJECTED": "is-hot", "FAILED": "is-hot"}.get(order.status, "")
    return STATES[order.status].word, f"{in_words(order)} {hint(order.reason)}".strip(), css
