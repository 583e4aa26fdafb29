"""An order's timeline for its owner, step by step, with durations. Pure."""

from collections.abc import Iterable, Iterator

from common.formatting import number, quantity
from execution.models import Fill, Order
from execution.timeline import (
    END_CSS,
    CompletedStep,
    Step,
    broker_order_text,
    build_steps,
    fill_text,
)
from portal.order_explanations import explain, format_price


def timeline(order: Order, fills: Iterable[Fill]) -> list[Step]:
    """Return the steps of an order, each with the time since the one before."""
    explanation = explain(order)
    now = (
        f"{explanation.summary} {explanation.why}"
        if order.status == "PENDING"
        else explanation.summary
    )
    return build_steps(order, _taken(order, list(fills)), now=now.strip())


def _taken(order: Order, fills: list[Fill]) -> Iterator[CompletedStep]:
    first = "Accepted" if order.is_entry else "Close requested"
    yield order.created_at, first, "Stored together with the publication, so it cannot be lost.", ""
    if order.validated_at:
        title = f"Sized and checked: {quantity(order.quantity, order.pair)}"
        yield order.validated_at, title, _sizing(order), ""
    if order.submitted_at:
        text = f"{order.client_order_id} was stored before it was sent, so it is never sent twice."
        yield order.submitted_at, "Intent saved, then sent", text, ""
    if order.acknowledged_at:
        yield order.acknowledged_at, "Acknowledged by the broker", broker_order_text(order), ""
    for fill in fills:
        yield _fill(order, fill)
    if order.done_at and not (fills and order.status == "FILLED"):
        explanation = explain(order)
        why = f"{explanation.summary} {explanation.why}"
        yield order.done_at, explanation.state.word, why, END_CSS.get(order.status, "")


def _fill(order: Order, fill: Fill) -> CompletedStep:
    cost = f" Commission {number(fill.commission)} {fill.commission_currency}."
    if fill.commission_rate is None:
        cost = f"{cost[:-1]}, not included in the result: no exchange rate was available."
    text = fill_text(fill, cost=cost if fill.commission else "")
    title = f"Filled {quantity(fill.quantity, order.pair)} at {format_price(fill.price, order.pip)}"
    return fill.recorded_at, title, text, "is-good"


def _sizing(order: Order) -> str:
    parts = []
    if order.expected_price:
        parts.append(f"Expected at {format_price(order.expected_price, order.pip)}.")
    figures = [("at risk to the stop", order.risk), ("margin", order.margin)]
    amounts = [f"{number(value, 2)} {name}" for name, value in figures if value is not None]
    if amounts:
        parts.append(f"In the account’s currency: {', '.join(amounts)}.")
    return " ".join([*parts, "Within all your limits."])
