"""An order's way for its owner, step by step, with the time that each took. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from common.shown import STATES, milliseconds, number
from execution.models import Fill, Order
from portal.words import precise, tell


@dataclass(frozen=True, slots=True)
class Step:
    """One line. css: `is-good` for what moved the trade, `is-hot` for what needs someone."""

    at: datetime | None
    since: str
    title: str
    text: str
    css: str = ""


Line = tuple[datetime, str, str, str]


def timeline(order: Order, fills: Iterable[Fill]) -> list[Step]:
    """Every step that the order took, each with the time since the one before."""
    steps = sorted(_taken(order, list(fills)), key=lambda step: step[0])
    made, before = [], None
    for at, title, text, css in steps:
        since = f"+{milliseconds(at - before)} ms" if before else ""
        made.append(Step(at, since, title, text, f"is-done {css}".strip()))
        before = at
    if order.done_at is None:
        made.append(Step(None, "", STATES[order.status].word, tell(order).say))
    return made


def _taken(order: Order, fills: list[Fill]) -> Iterator[Line]:
    first = "Taken up" if order.is_entry else "Close asked for"
    yield order.created_at, first, "Written together with the publication: it cannot be lost.", ""
    if order.validated_at:
        title = f"Sized and checked: {number(order.quantity)} units"
        yield order.validated_at, title, _sizing(order), ""
    if order.submitted_at:
        text = f"{order.client_order_id} was on disk before the first byte left, so it can never be"
        yield order.submitted_at, "Intent saved, then sent", f"{text} sent twice.", ""
    if order.acknowledged_at:
        there = f"There it is {order.broker_order_id}." if order.broker_order_id else ""
        yield order.acknowledged_at, "Acknowledged by the broker", there, ""
    for fill in fills:
        yield _fill(order, fill)
    if order.done_at and not (fills and order.status == "FILLED"):
        said = tell(order)
        css = {"FILLED": "is-good", "REJECTED": "is-hot", "FAILED": "is-hot"}
        yield order.done_at, said.shown.word, f"{said.say} {said.why}", css.get(order.status, "")


def _fill(order: Order, fill: Fill) -> Line:
    told = f"{fill.broker_fill_id}, the broker’s own time {fill.time:%H:%M:%S}."
    if fill.commission:
        told += f" Commission {number(fill.commission, 2)} {fill.commission_currency}."
    if fill.inferred:
        told += " Inferred from a cumulative quantity; the real fill replaces it."
    title = f"Filled {number(fill.quantity)} units at {precise(fill.price, order.pip)}"
    return fill.recorded_at, title, told, "is-good"


def _sizing(order: Order) -> str:
    parts = []
    if order.expected_price:
        parts.append(f"Expected at {precise(order.expected_price, order.pip)}.")
    figures = [("at risk to the stop", order.risk), ("margin", order.margin)]
    told = [f"{number(value, 2)} {name}" for name, value in figures if value is not None]
    if told:
        parts.append(f"In the account’s currency: {', '.join(told)}.")
    return " ".join([*parts, "All your limits hold."])
