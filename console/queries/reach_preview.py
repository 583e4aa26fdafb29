"""The preview of a publication: texts and badges of the console."""

from common.confirmation import Consequence
from common.formatting import STATES, number, quantity
from signals.models import Action, Signal
from signals.preview import Outcome, Preview, Reason, Sizes

FOLLOW_SECONDS = 5
CSS = {
    Outcome.SENT: STATES["SUBMITTED"].css,
    Outcome.WAITING: STATES["PENDING"].css,
    Outcome.SKIPPED: STATES["SKIPPED"].css,
    Outcome.NOT_LISTED: STATES["SKIPPED"].css,
    Outcome.DENIED: STATES["DENIED"].css,
}
OUTCOME_LABELS = {
    Outcome.WAITING: "Would wait",
    Outcome.SKIPPED: "Would be skipped",
    Outcome.NOT_LISTED: "Not listed at their broker",
    Outcome.DENIED: "Would be denied",
}
_VERBS = {
    Outcome.WAITING: ("waits", "wait"),
    Outcome.SKIPPED: ("skipped", "skipped"),
    Outcome.NOT_LISTED: ("not listed", "not listed"),
    Outcome.DENIED: ("denied", "denied"),
}
_SENT = {
    Action.OPEN: ("gets an order, sent", "get one order each, sent"),
    Action.MODIFY: ("gets the new levels", "get the new levels"),
    Action.CLOSE: ("gets an exit order, sent", "get one exit order each, sent"),
}


def lines(found: Preview) -> list[tuple[str, str, Reason]]:
    """Return (badge, label, reason) of each reason, for a table."""
    return [(CSS[one.outcome], OUTCOME_LABELS[one.outcome], one) for one in found.reasons]


def points(signal: Signal, found: Preview) -> list[Consequence]:
    """Return what a publication would do, before it is confirmed."""
    return [
        Consequence("submitting" if found.sent else "denied", _sent(signal, found)),
        *(Consequence(CSS[one.outcome], _reason(one)) for one in found.reasons),
    ]


def button(found: Preview) -> str:
    """Return the label of the publish button; empty: publishing would have no effect."""
    if found.faults and not found.takers:
        return ""
    if not found.candidates:
        return "Publish without any connection"
    if found.sent:
        return f"Publish to {connections(found.sent)}"
    if found.waiting:
        return f"Publish: {connections(found.waiting)} would wait"
    return "Publish although nothing would be sent"


def connections(many: int) -> str:
    """Return `1 connection`, `2 connections`."""
    return f"{number(many)} connection{'' if many == 1 else 's'}"


def _sent(signal: Signal, found: Preview) -> str:
    if not found.sent:
        return "Nothing would be sent now."
    one, several = _SENT[Action(signal.action)]
    what = f"{connections(found.sent)} {one if found.sent == 1 else several} within a second."
    return f"{what} {spread(found.sizes[0], signal.currency_pair)}" if found.sizes else what


def spread(sizes: Sizes, pair: str) -> str:
    """Write the sizes of several orders as one sentence."""
    if sizes.smallest == sizes.largest:
        return f"Size: {quantity(sizes.smallest, pair)}."
    return (
        f"Sizes: {quantity(sizes.smallest, pair)} to {quantity(sizes.largest, pair)}, "
        f"median {quantity(sizes.median, pair)}."
    )


def _reason(reason: Reason) -> str:
    one, several = _VERBS[reason.outcome]
    verb = one if reason.connections == 1 else several
    return f"{number(reason.connections)} {verb}: {reason.sentence}"
