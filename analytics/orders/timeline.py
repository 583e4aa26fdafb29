"""The timeline of an order on a page: its steps, each with the time since the one before."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from analytics.orders.aggregates import sent_with_text
from analytics.orders.explanations import explain, format_price
from analytics.orders.money import currency_of
from common.money import plain
from common.web.formatting import STATES, amount, gain_amount, milliseconds, number, quantity
from execution.models import Fill, Order, trigger_of

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


def timeline(order: Order, fills: Iterable[Fill]) -> list[Step]:
    """Return the steps that an order has completed, and what it does now if it has not ended.

    Steps of the same time keep their order.
    """
    steps, previous = [], None
    for at, title, text, css in sorted(_completed(order, list(fills)), key=lambda step: step[0]):
        since = f"+{milliseconds(at - previous)} ms" if previous else ""
        steps.append(Step(at, since, title, text, f"is-done {css}".strip()))
        previous = at
    if order.done_at is None:
        explanation = explain(order)
        why = explanation.why if order.status == "PENDING" else ""
        text = f"{explanation.summary} {why}".strip()
        steps.append(Step(None, "", STATES[order.status].word, text))
    return steps


def _completed(order: Order, fills: list[Fill]) -> Iterator[CompletedStep]:
    if order.is_entry:
        text = "Stored together with the publication, so it cannot be lost."
        yield order.created_at, "Accepted", text, ""
    else:
        text = "Stored together with its reserved quantity, so it cannot be lost."
        yield order.created_at, "Close requested", text, ""
    yield from _triggered(order)
    if order.validated_at and order.submitted_at:  # a denied entry was checked, and did not pass
        title = f"Sized and checked: {quantity(order.quantity, order.pair)}"
        yield order.validated_at, title, _sizing(order), ""
    if order.submitted_at:
        text = f"{order.client_order_id} was stored before it was sent, so it is never sent twice."
        if together := sent_with_text(order):
            text = f"Stored before it was sent, so it is never sent twice. {together}"
        yield order.submitted_at, "Intent saved, then sent", text, ""
    if order.acknowledged_at:
        broker_id = order.broker_order_id
        text = f"The broker’s order id is {broker_id}." if broker_id else ""
        yield order.acknowledged_at, "Acknowledged by the broker", text, ""
    for fill in fills:
        price = format_price(fill.price, order.pip)
        title = f"Filled {quantity(fill.quantity, order.pair)} at {price}"
        yield fill.recorded_at, title, _fill_text(fill, order), "is-good"
    if order.done_at and not (fills and order.status == "FILLED"):
        explanation = explain(order)
        text = f"{explanation.summary} {explanation.why}".strip()
        yield order.done_at, explanation.state.word, text, END_CSS.get(order.status, "")


def _triggered(order: Order) -> Iterator[CompletedStep]:
    """Yield when an emulated order was armed, and when its trigger fired."""
    trigger = trigger_of(order)
    if trigger is None:
        return
    why = "Fillcast holds it, since its broker does not take the type, or not all that it asks for"
    if order.oco_group:
        why = "Fillcast holds it together with the other leg of its pair: one cancels the other"
    text = f"{why}: {trigger.condition}."
    yield trigger.armed_at, "Held until its trigger (emulated)", text, ""
    if trigger.fired_at:
        text = f"Sent as {trigger.sent_as.lower()} order."
        yield trigger.fired_at, f"Trigger reached at {plain(trigger.fired_price)}", text, "is-good"


def _sizing(order: Order) -> str:
    parts = []
    if order.expected_price:
        parts.append(f"Expected at {format_price(order.expected_price, order.pip)}.")
    figures = [("at risk to the stop", order.risk), ("margin", order.margin)]
    currency = currency_of(order) if any(value is not None for _, value in figures) else ""
    amounts = [f"{amount(value, currency)} {name}" for name, value in figures if value is not None]
    if amounts:
        lead = "" if currency else "In the account’s currency: "
        parts.append(f"{lead}{', '.join(amounts)}.")
    return " ".join([*parts, "Within all limits."])


def _fill_text(fill: Fill, order: Order) -> str:
    """Return a fill's broker id, its broker time, its cost, and whether it is inferred."""
    text = f"{fill.broker_fill_id}, broker’s time {fill.time:%H:%M:%S}."
    if fill.commission:
        text += f" Commission {number(fill.commission)} {fill.commission_currency}"
        not_converted = ", not included in the result: no exchange rate was available"
        text += f"{not_converted}." if fill.commission_rate is None else "."
    if fill.swap:
        swap = gain_amount(fill.swap, currency_of(order))
        text += f" Swap {swap}, booked by the broker with this close."
    if fill.inferred:
        text += " Inferred from a cumulative quantity; the broker’s own report of it replaces it."
    return text
