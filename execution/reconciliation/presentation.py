"""What pages say of differences and of decisions about them: console and portal alike."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from common.confirmation import Consequence
from common.formatting import hint, number, sentence
from common.reason_codes import Code
from execution.models import Decision, DriftItem
from execution.reconciliation.auto_correction import surplus
from execution.reconciliation.decisions import actions_of
from execution.reconciliation.effects import Decided

ADOPT, RELINK, CLOSE, IGNORE = Decision.ADOPT, Decision.RELINK, Decision.CLOSE, Decision.IGNORE

GUIDANCE: dict[str, str] = {
    Code.UNKNOWN_POSITION: "Somebody opened it at the broker. It has no guard of ours.",
    Code.POSITION_MISSING: "It was closed at the broker.",
    Code.QUANTITY_DIFFERS: "A part was closed or added there, and the broker does not tell how.",
    Code.LEVELS_DIFFER: "Stop or target were moved at the broker.",
    Code.PRICE_DIFFERS: "Only profits are shown differently.",
    Code.UNKNOWN_ORDER: "An order with our tag that we have no row of: look at its id first.",
    Code.EXIT_OVERFILLED: "What was open is closed here. Compare: what is left there shows then.",
    Code.REPORT_PROCESSING_FAILED: "A report that cannot be written down is the evidence itself.",
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
USUAL = {ADOPT: "Adopt", RELINK: "It is one of ours", CLOSE: "Close", IGNORE: "Leave it"}

TRADE = "It becomes a trade of the owner’s private feed, on this account only."
POINTS: dict[tuple[str, Decision], tuple[tuple[str, str], ...]] = {
    (Code.UNKNOWN_POSITION, ADOPT): (
        ("validated", TRADE),
        ("safe", "Its stop and target are what the broker holds, unless you give others."),
    ),
    (Code.UNKNOWN_POSITION, RELINK): (
        ("validated", "The order or position gets the broker’s number, and what filled there."),
    ),
    (Code.UNKNOWN_POSITION, CLOSE): (
        ("submitting", "A market order closes all of it, before all entries."),
        ("validated", "It is kept as a trade of the owner’s private feed, with its result."),
    ),
    (Code.UNKNOWN_ORDER, ADOPT): (("validated", TRADE),),
    (Code.UNKNOWN_ORDER, RELINK): (
        ("validated", "The order gets the id that the broker knows, and is looked up there."),
    ),
    (Code.UNKNOWN_ORDER, CLOSE): (
        ("submitting", "The broker is asked to cancel it; what filled of it is closed."),
    ),
    (Code.POSITION_MISSING, CLOSE): (
        ("validated", "Nothing is sent. Ours is closed at the last price, as closed outside."),
    ),
    (Code.QUANTITY_DIFFERS, CLOSE): (
        ("submitting", "A market order closes what the broker holds beyond ours."),
    ),
    (Code.LEVELS_DIFFER, ADOPT): (
        ("validated", "Nothing is sent. A level that the broker has not got is ours no more."),
    ),
    (Code.LEVELS_DIFFER, RELINK): (("submitting", "The broker is told our levels again."),),
    (Code.PRICE_DIFFERS, ADOPT): (("validated", "Nothing is sent. Profits count from it."),),
    (Code.ORDER_MISSING, CLOSE): (
        ("attention", "Nothing is sent. If it is at the broker after all, its fill still counts."),
    ),
    (Code.ORDER_STILL_WORKING, CLOSE): (
        ("submitting", "The broker is asked to cancel it at once."),
    ),
    (Code.LOOKUP_WINDOW_EXCEEDED, CLOSE): (
        ("attention", "Nothing is sent. Look it up in the broker’s own statements first."),
    ),
}
IN_ORDER = (
    "state", "side", "order_type", "quantity", "filled", "entry_price", "limit_price",
    "stop_price", "stop_loss", "take_profit",
)  # fmt: skip
LEFT = (("pending", "It stays as it is. When it changes, it is open again."),)


def guidance(item: DriftItem) -> str:
    """Say what it means, and what to do about it."""
    return " ".join(filter(None, [GUIDANCE.get(item.kind, ""), hint(item.kind)]))


def opens_a_trade(item: DriftItem) -> bool:
    """Whether it is about something that we have nothing of yet."""
    return item.kind in (Code.UNKNOWN_POSITION, Code.UNKNOWN_ORDER)


def button(item: DriftItem, decision: Decision) -> str:
    """Name an action by what it does to this one."""
    return BUTTONS.get((item.kind, decision), USUAL[decision])


def title(item: DriftItem, decision: Decision) -> str:
    """Ask about an action."""
    return f"{button(item, decision)}?"


def consequences(item: DriftItem, decision: Decision) -> list[Consequence]:
    """Say what will happen before it does."""
    lines: tuple[tuple[str, str], ...]
    if decision is IGNORE:
        lines = LEFT
    elif (item.kind, decision) == (Code.QUANTITY_DIFFERS, ADOPT) and ADOPT in actions_of(item):
        lines = _quantity(item)
    else:
        lines = POINTS.get((item.kind, decision), ())
    account = f"{item.connection.name} · {item.connection.account}"
    about = ("attention", f"{sentence(item.kind)} {account}: {summary(item)}.")
    actor = ("safe", "Who decided what, and when, stays on the item and in the log.")
    return [Consequence(css, text) for css, text in (about, *lines, actor)]


def _quantity(item: DriftItem) -> tuple[tuple[str, str], ...]:
    if surplus(item.evidence) > 0:
        return (("validated", "Nothing is sent. What is gone counts as closed outside."),)
    return (("validated", f"Nothing is sent. The surplus is taken over. {TRADE}"),)


def outcome_message(decided: Decided) -> str:
    """Say what came of a decision."""
    if decided.order_ids:
        return f"Decided. It is being closed by O-{decided.order_ids[0]}."
    if decided.needs_comparison or decided.has_pending_actions:
        return "Decided. The broker is asked now."
    if decided.item.decision == IGNORE:
        return "Left as it is. When it changes, it is open again."
    return "Decided and settled."


def subject(item: DriftItem) -> str:
    """Name what differs: `Buy EURUSD, P-12, 7714 at the broker`; empty where nothing names it."""
    parts_shown = item.evidence
    held = [
        one
        for one in (parts_shown.get("theirs"), parts_shown.get("ours"), parts_shown)
        if isinstance(one, dict)
    ]
    side = next((str(one["side"]) for one in held if one.get("side")), "")
    ours = parts_shown.get("positions") or (f"P-{item.position_id}" if item.position_id else "")
    order = f"O-{item.order_id}" if item.order_id else ""
    number = parts_shown.get("broker_position_id") or parts_shown.get("broker_order_id") or ""
    trade = " ".join(filter(None, [side.capitalize(), str(parts_shown.get("symbol") or "")]))
    parts = [trade, str(ours), order, f"{number} at the broker" if number else ""]
    return ", ".join(filter(None, parts))


def differing(item: DriftItem) -> str:
    """Say in a few words what the two sides hold: `quantity 100 ≠ 70`."""
    pairs, _ = sides(item)
    found = [one for one in pairs if one.differs]
    of_quantity = [one for one in found if one.name == "quantity"]
    return ", ".join(
        f"{one.name} {one.ours or 'none'} ≠ {one.theirs or 'none'}"
        for one in of_quantity[:1] or found
    )


def summary(item: DriftItem) -> str:
    """Name what differs and how: `Buy EURUSD, P-12, 7714 at the broker: quantity 100 ≠ 70`."""
    return ": ".join(filter(None, [subject(item), differing(item)])) or item.key


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of the evidence."""

    name: str
    ours: str
    theirs: str

    @property
    def differs(self) -> bool:
        return self.ours != self.theirs


def sides(item: DriftItem) -> tuple[list[Difference], list[tuple[str, str]]]:
    """Sort evidence into what both sides say and what stands alone."""
    told: dict[str, Any] = item.evidence
    ours, theirs = told.get("ours"), told.get("theirs", told.get("broker"))
    facts = [
        (name.replace("_", " "), _moment(value) if name.endswith("_at") else str(value))
        for name, value in told.items()
        if name not in {"ours", "theirs", "broker", "differs"} and value not in (None, "")
    ]
    if isinstance(ours, dict) or isinstance(theirs, dict):
        mine, his = ours or {}, theirs or {}
        told_of = {*mine, *his}
        names = [*(n for n in IN_ORDER if n in told_of), *sorted(told_of - set(IN_ORDER))]
        return [
            Difference(n.replace("_", " "), _side(mine, n), _side(his, n)) for n in names
        ], facts
    if ours is None and theirs is None:
        return [], facts
    return [Difference("quantity", _written(ours or 0), _written(theirs or 0))], facts


def _moment(value: Any) -> str:
    try:
        return f"{datetime.fromisoformat(str(value)):%-d %b %Y %H:%M:%S}"
    except ValueError:
        return str(value)


def _side(fields: dict[str, Any], name: str) -> str:
    """What one side says of a thing; a side that has nothing at all says nothing."""
    if not fields:
        return ""
    value = fields.get(name)
    return "none" if value in (None, "") else _written(value)


def _written(value: Any) -> str:
    """A number with its thousands, anything else as it is."""
    if value is None:
        return "none"
    try:
        return number(Decimal(str(value)))
    except InvalidOperation:
        return str(value)
