"""An order's way, step by step, with the time that each took."""

from collections.abc import Iterable, Iterator

from common.formatting import STATES, hint, number, quantity
from common.money import plain
from console.queries.candidates import order_summary
from execution.models import Fill, Order
from execution.timeline import (
    END_CSS,
    CompletedStep,
    Step,
    broker_order_text,
    build_steps,
    fill_text,
)


def timeline(order: Order, fills: Iterable[Fill]) -> list[Step]:
    """Every step that the order took, each with the time since the one before."""
    return build_steps(order, _taken(order, list(fills)), now=order_summary(order))


def _taken(order: Order, fills: list[Fill]) -> Iterator[CompletedStep]:
    written = "in the publish transaction" if order.is_entry else (
        "the exit and the quantity that it reserves")  # fmt: skip
    yield order.created_at, "Written", written, ""
    if order.validated_at:
        title = f"Sized and checked: {quantity(order.quantity, order.pair)}"
        yield order.validated_at, title, _sizing(order), ""
    if order.submitted_at:
        text = f"{order.client_order_id} was on disk before the first byte left."
        yield order.submitted_at, "Intent saved, then sent", text, ""
    if order.acknowledged_at:
        yield order.acknowledged_at, "The broker answered", broker_order_text(order), ""
    for fill in fills:
        title = f"Filled {quantity(fill.quantity, order.pair)} at {plain(fill.price)}"
        yield fill.recorded_at, title, fill_text(fill), "is-good"
    if order.done_at and not (fills and order.status == "FILLED"):
        said = f"{order_summary(order)} {hint(order.reason, order.status)}".strip()
        yield order.done_at, STATES[order.status].word, said, END_CSS.get(order.status, "")


def _sizing(order: Order) -> str:
    price = f"Expected at {plain(order.expected_price)}. " if order.expected_price else ""
    if order.risk is None and order.margin is None:
        return f"{price}All limits hold."
    figures = [("at risk", order.risk), ("margin", order.margin)]
    told = ", ".join(f"{name} {number(value, 2)}" for name, value in figures if value is not None)
    return f"{price}In the account’s currency: {told}."
