"""Texts about drift items and decisions, for the console, the portal and the API."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils import timezone

from common.reason_codes import Code
from common.web.confirmation import Consequence
from common.web.formatting import age, hint, number, sentence
from execution.models import Decision, DriftItem
from execution.reconciliation.auto_correction import surplus
from execution.reconciliation.decisions import actions_of
from execution.reconciliation.effects import Decided

ADOPT, RELINK, CLOSE, IGNORE = Decision.ADOPT, Decision.RELINK, Decision.CLOSE, Decision.IGNORE

GUIDANCE: dict[str, str] = {
    Code.UNKNOWN_POSITION: "It was opened at the broker. We do not guard it.",
    Code.POSITION_MISSING: "It was closed at the broker.",
    Code.POSITION_NOT_TRADABLE: "Its coins are still in the account.",
    Code.QUANTITY_DIFFERS: "A part was closed or added there; the broker does not show how.",
    Code.LEVELS_DIFFER: "The stop or target was changed at the broker.",
    Code.PRICE_DIFFERS: "Only the profit shown differs.",
    Code.UNKNOWN_ORDER: "It has our tag but no order here. Check its id first.",
    Code.EXIT_OVERFILLED: "The position is closed here. Compare to see what is left at the broker.",
    Code.REPORT_PROCESSING_FAILED: "The evidence is the report that could not be stored.",
}

BUTTONS: dict[tuple[str, Decision], str] = {
    (Code.UNKNOWN_POSITION, ADOPT): "Adopt it",
    (Code.UNKNOWN_POSITION, CLOSE): "Close it at the broker",
    (Code.UNKNOWN_ORDER, ADOPT): "Adopt it",
    (Code.UNKNOWN_ORDER, CLOSE): "Cancel it at the broker",
    (Code.POSITION_MISSING, CLOSE): "Close ours",
    (Code.QUANTITY_DIFFERS, ADOPT): "Take the broker’s quantity",
    (Code.QUANTITY_DIFFERS, CLOSE): "Close the surplus",
    (Code.LEVELS_DIFFER, ADOPT): "Take the broker’s levels",
    (Code.LEVELS_DIFFER, RELINK): "Put ours back",
    (Code.PRICE_DIFFERS, ADOPT): "Take the broker’s price",
    (Code.ORDER_MISSING, CLOSE): "End ours",
    (Code.ORDER_STILL_WORKING, CLOSE): "Cancel it at the broker",
    (Code.LOOKUP_WINDOW_EXCEEDED, CLOSE): "End ours",
}
DEFAULT_BUTTONS = {ADOPT: "Adopt", RELINK: "Link to one of ours", CLOSE: "Close", IGNORE: "Ignore"}

TRADE = "It becomes a trade of the owner’s private feed, on this account only."
CONSEQUENCES: dict[tuple[str, Decision], tuple[tuple[str, str], ...]] = {
    (Code.UNKNOWN_POSITION, ADOPT): (
        ("validated", TRADE),
        ("safe", "It keeps the broker’s stop and target, unless you enter others."),
    ),
    (Code.UNKNOWN_POSITION, RELINK): (
        ("validated", "The order or position gets the broker’s id and fills."),
    ),
    (Code.UNKNOWN_POSITION, CLOSE): (
        ("submitting", "A market order closes all of it, with priority over entries."),
        ("validated", "It is kept as a trade of the owner’s private feed, with its result."),
    ),
    (Code.UNKNOWN_ORDER, ADOPT): (("validated", TRADE),),
    (Code.UNKNOWN_ORDER, RELINK): (
        ("validated", "The order gets the broker’s id and is looked up there."),
    ),
    (Code.UNKNOWN_ORDER, CLOSE): (
        ("submitting", "We ask the broker to cancel it. What has filled is closed."),
    ),
    (Code.POSITION_MISSING, CLOSE): (
        (
            "validated",
            "Nothing is sent. Ours is closed at the last price, as closed outside Fillcast.",
        ),
    ),
    (Code.QUANTITY_DIFFERS, CLOSE): (
        ("submitting", "A market order closes what the broker holds beyond ours."),
    ),
    (Code.LEVELS_DIFFER, ADOPT): (
        ("validated", "Nothing is sent. A level that the broker lacks is removed here."),
    ),
    (Code.LEVELS_DIFFER, RELINK): (("submitting", "Our levels are sent to the broker again."),),
    (Code.PRICE_DIFFERS, ADOPT): (
        ("validated", "Nothing is sent. Profit is calculated from this price."),
    ),
    (Code.ORDER_MISSING, CLOSE): (
        ("attention", "Nothing is sent. If it is at the broker after all, its fill still counts."),
    ),
    (Code.ORDER_STILL_WORKING, CLOSE): (("submitting", "We ask the broker to cancel it at once."),),
    (Code.LOOKUP_WINDOW_EXCEEDED, CLOSE): (
        ("attention", "Nothing is sent. Check the broker’s own statements first."),
    ),
}
FIELD_ORDER = (
    "state", "side", "order_type", "quantity", "filled", "entry_price", "limit_price",
    "stop_price", "trail_distance", "stop_loss", "take_profit",
)  # fmt: skip
IGNORED = (("pending", "Nothing changes. If the difference changes, it opens again."),)


def guidance(item: DriftItem) -> str:
    """Return what a difference means and what to do about it."""
    return " ".join(filter(None, [GUIDANCE.get(item.kind, ""), hint(item.kind)]))


def opens_a_trade(item: DriftItem) -> bool:
    """Return whether adopting it would create a new trade."""
    return item.kind in (Code.UNKNOWN_POSITION, Code.UNKNOWN_ORDER)


def button(item: DriftItem, decision: Decision) -> str:
    """Return the label of a decision's button for this item."""
    return BUTTONS.get((item.kind, decision), DEFAULT_BUTTONS[decision])


def title(item: DriftItem, decision: Decision) -> str:
    """Return the title of a decision's confirmation page."""
    return f"{button(item, decision)}?"


def consequences(item: DriftItem, decision: Decision) -> list[Consequence]:
    """Return what a decision will do, for its confirmation page."""
    lines: tuple[tuple[str, str], ...]
    if decision is IGNORE:
        lines = IGNORED
    elif (item.kind, decision) == (Code.QUANTITY_DIFFERS, ADOPT) and ADOPT in actions_of(item):
        lines = _quantity(item)
    else:
        lines = CONSEQUENCES.get((item.kind, decision), ())
    account = f"{item.connection.name} · {item.connection.account}"
    about = ("attention", f"{sentence(item.kind)} {account}: {summary(item)}.")
    actor = ("safe", "The item and the log keep who decided what, and when.")
    return [Consequence(css, text) for css, text in (about, *lines, actor)]


def _quantity(item: DriftItem) -> tuple[tuple[str, str], ...]:
    if surplus(item.evidence) > 0:
        return (("validated", "Nothing is sent. What is gone counts as closed outside Fillcast."),)
    return (("validated", f"Nothing is sent. The surplus is adopted. {TRADE}"),)


def outcome_message(decided: Decided) -> str:
    """Return the message shown after a decision."""
    if decided.order_ids:
        return f"Decided. O-{decided.order_ids[0]} closes it."
    if decided.needs_comparison or decided.has_pending_actions:
        return "Decided. The request is being sent to the broker."
    if decided.item.decision == IGNORE:
        return "Ignored. If the difference changes, it opens again."
    return "Decided and resolved."


def subject(item: DriftItem) -> str:
    """Name what differs: `Buy EURUSD, P-12, 7714 at the broker`; "" if nothing names it."""
    evidence = item.evidence
    sources = [evidence.get("theirs"), evidence.get("ours"), evidence]
    sides = (source.get("side") for source in sources if isinstance(source, dict))
    side = next((str(side) for side in sides if side), "")
    ours = evidence.get("positions") or (f"P-{item.position_id}" if item.position_id else "")
    order = f"O-{item.order_id}" if item.order_id else ""
    broker_id = evidence.get("broker_position_id") or evidence.get("broker_order_id") or ""
    trade = " ".join(filter(None, [side.capitalize(), str(evidence.get("symbol") or "")]))
    parts = [trade, str(ours), order, f"{broker_id} at the broker" if broker_id else ""]
    return ", ".join(filter(None, parts))


def differing(item: DriftItem) -> str:
    """Return what the two sides hold, in short: `quantity 100 ≠ 70`."""
    fields, _ = sides(item)
    differing_fields = [field for field in fields if field.differs]
    quantities = [field for field in differing_fields if field.name == "quantity"]
    return ", ".join(
        f"{field.name} {field.ours or 'none'} ≠ {field.theirs or 'none'}"
        for field in quantities[:1] or differing_fields
    )


def summary(item: DriftItem) -> str:
    """Name what differs and how: `Buy EURUSD, P-12, 7714 at the broker: quantity 100 ≠ 70`."""
    return ": ".join(filter(None, [subject(item), differing(item)])) or item.key


def page_context(item: DriftItem) -> dict[str, Any]:
    """Return what an item's page shows. age: since it was found; '' unless it is open."""
    pairs, facts = sides(item)
    return {
        "item": item,
        "sentence": sentence(item.kind),
        "subject": subject(item),
        "hint": guidance(item),
        "pairs": pairs,
        "facts": facts,
        "age": age((timezone.now() - item.found_at).total_seconds()) if item.is_open else "",
    }


def decision_links(item: DriftItem, prefix: str) -> list[tuple[str, str, Decision]]:
    """Return (label, name of the address, decision) of the decisions that are possible now.

    prefix: of the names of the addresses.
    """
    return [
        (button(item, decision), f"{prefix}{decision.value.lower()}", decision)
        for decision in actions_of(item)
    ]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of the evidence, as both sides have it."""

    name: str
    ours: str
    theirs: str

    @property
    def differs(self) -> bool:
        """Whether the two sides have different values."""
        return self.ours != self.theirs


def sides(item: DriftItem) -> tuple[list[Difference], list[tuple[str, str]]]:
    """Split evidence into the fields of the two sides and other facts, as (name, value)."""
    evidence: dict[str, Any] = item.evidence
    ours, theirs = evidence.get("ours"), evidence.get("theirs", evidence.get("broker"))
    facts = [
        (name.replace("_", " "), _moment(value) if name.endswith("_at") else str(value))
        for name, value in evidence.items()
        if name not in {"ours", "theirs", "broker", "differs"} and value not in (None, "")
    ]
    if isinstance(ours, dict) or isinstance(theirs, dict):
        ours, theirs = ours or {}, theirs or {}
        fields = {*ours, *theirs}
        names = [*(n for n in FIELD_ORDER if n in fields), *sorted(fields - set(FIELD_ORDER))]
        return [
            Difference(n.replace("_", " "), _side(ours, n), _side(theirs, n)) for n in names
        ], facts
    if ours is None and theirs is None:
        return [], facts
    return [Difference("quantity", _value_text(ours or 0), _value_text(theirs or 0))], facts


def _moment(value: Any) -> str:
    try:
        return f"{datetime.fromisoformat(str(value)):%-d %b %Y %H:%M:%S}"
    except ValueError:
        return str(value)


def _side(fields: dict[str, Any], name: str) -> str:
    """Return one side's value as text; "" if that side has no fields at all."""
    if not fields:
        return ""
    value = fields.get(name)
    return "none" if value in (None, "") else _value_text(value)


def _value_text(value: Any) -> str:
    """Return a number with thousands separators, anything else unchanged."""
    if value is None:
        return "none"
    try:
        return number(Decimal(str(value)))
    except InvalidOperation:
        return str(value)
