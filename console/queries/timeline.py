"""An order's timeline for operators, step by step, with durations."""

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
    """Return the steps of an order, each with the time since the one before."""
    return build_steps(order, _taken(order, list(fills)), now=order_summary(order))


def _taken(order: Order, fills: list[Fill]) -> Iterator[CompletedStep]:
    written = (
        "in the publish transaction" if order.is_entry else "the exit and its reserved quantity"
    )
    yield order.created_at, "Created", written, ""
    if order.validated_at:
        title = f"Sized and checked: {quantity(order.quantity, order.pair)}"
        yield order.validated_at, title, _sizing(order), ""
    if order.submitted_at:
        text = f"{order.client_order_id} was stored before it was sent."
        yield order.submitted_at, "Intent saved, then sent", text, ""
    if order.acknowledged_at:
        yield order.acknowledged_at, "Acknowledged by the broker", broker_order_text(order), ""
    for fill in fills:
        title = f"Filled {quantity(fill.quantity, order.pair)} at {plain(fill.price)}"
        yield fill.recorded_at, title, fill_text(fill), "is-good"
    if order.done_at and not (fills and order.status == "FILLED"):
        text = f"{order_summary(order)} {hint(order.reason, order.status)}".strip()
        yield order.done_at, STATES[order.status].word, text, END_CSS.get(order.status, "")


def _sizing(order: Order) -> str:
    price = f"Expected at {plain(order.expected_price)}. " if order.expected_price else ""
    if order.risk is None and order.margin is None:
        return f"{price}Within all limits."
    figures = [("at risk", order.risk), ("margin", order.margin)]
    amounts = ", ".join(
        f"{name} {number(value, 2)}" for name, value in figures if value is not None
    )
    return f"{price}In the account’s currency: {amounts}."
