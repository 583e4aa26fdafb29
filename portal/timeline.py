"""An order's way for its owner, step by step, with the time that each took. Pure."""

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
    """Every step that the order took, each with the time since the one before."""
    said = explain(order)
    now = f"{said.summary} {said.why}" if order.status == "PENDING" else said.summary
    return build_steps(order, _taken(order, list(fills)), now=now.strip())


def _taken(order: Order, fills: list[Fill]) -> Iterator[CompletedStep]:
    first = "Taken up" if order.is_entry else "Close asked for"
    yield order.created_at, first, "Written together with the publication: it cannot be lost.", ""
    if order.validated_at:
        title = f"Sized and checked: {quantity(order.quantity, order.pair)}"
        yield order.validated_at, title, _sizing(order), ""
    if order.submitted_at:
        text = f"{order.client_order_id} was on disk before the first byte left, so it can never be"
        yield order.submitted_at, "Intent saved, then sent", f"{text} sent twice.", ""
    if order.acknowledged_at:
        yield order.acknowledged_at, "Acknowledged by the broker", broker_order_text(order), ""
    for fill in fills:
        yield _fill(order, fill)
    if order.done_at and not (fills and order.status == "FILLED"):
        said = explain(order)
        why = f"{said.summary} {said.why}"
        yield order.done_at, said.state.word, why, END_CSS.get(order.status, "")


def _fill(order: Order, fill: Fill) -> CompletedStep:
    cost = f" Commission {number(fill.commission)} {fill.commission_currency}."
    if fill.commission_rate is None:
        cost = f"{cost[:-1]}, not in the result: no rate was quoted."
    told = fill_text(fill, cost=cost if fill.commission else "")
    title = f"Filled {quantity(fill.quantity, order.pair)} at {format_price(fill.price, order.pip)}"
    return fill.recorded_at, title, told, "is-good"


def _sizing(order: Order) -> str:
    parts = []
    if order.expected_price:
        parts.append(f"Expected at {format_price(order.expected_price, order.pip)}.")
    figures = [("at risk to the stop", order.risk), ("margin", order.margin)]
    told = [f"{number(value, 2)} {name}" for name, value in figures if value is not None]
    if told:
        parts.append(f"In the account’s currency: {', '.join(told)}.")
    return " ".join([*parts, "All your limits hold."])
