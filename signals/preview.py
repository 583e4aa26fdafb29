"""What would happen if a signal were published now: counts of its candidates by outcome.

The app that trades computes it (`register_preview`), by the rules of fan-out and claim themselves.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from common.errors import ConflictError
from common.permissions import Caller, Right, may
from common.reason_codes import Code
from signals.errors import Fault, InvalidSignalError
from signals.models import Action, Signal


class Outcome(StrEnum):
    """What would become of a candidate."""

    SENT = "sent"
    WAITING = "waiting"
    SKIPPED = "skipped"
    NOT_LISTED = "not_listed"  # its broker does not list the symbol
    DENIED = "denied"


# Denials that a signal earns by itself, and the field that they are about.
SIGNAL_FAULTS: dict[Code, str] = {
    Code.STOP_AT_ENTRY: "sl",
    Code.STOP_TOO_NEAR: "sl",
    Code.STOP_REQUIRED: "sl",
    Code.TARGET_WRONG_SIDE: "targets",
    Code.PRICE_WRONG_SIDE: "open_price",  # a stop order's is its stop price: `_field_of`
    Code.SLIPPAGE_LIMIT: "open_price",
    Code.ORDER_TYPE_UNSUPPORTED: "order_type",
    Code.SIGNAL_EXPIRED: "valid_until",
}
# Of accounts that do not list the symbol; how many of a feed do is no secret (`symbol_reach`).
NOT_LISTED = frozenset({Code.SYMBOL_NOT_AT_BROKER})
# What today's market lets no account do: the signal may be written, and published another time.
MARKET_FAULTS = frozenset({Code.QUOTE_STALE})


@dataclass(frozen=True, slots=True)
class Reason:
    """So many candidates would not be sent at once, for this code. None: for reasons of accounts
    that the reader may not know."""

    outcome: Outcome
    code: Code | None
    connections: int

    @property
    def name(self) -> str:
        return self.code.value if self.code else ""

    @property
    def sentence(self) -> str:
        return self.code.sentence if self.code else "For reasons of the accounts themselves."

    @property
    def hint(self) -> str:
        return self.code.hint if self.code else ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The spread of quantities (base units) that would be sent; kind: of one broker type."""

    kind: str
    connections: int
    smallest: Decimal
    median: Decimal
    largest: Decimal


@dataclass(frozen=True, slots=True)
class Preview:
    """The candidates of this moment, by outcome.

    sizes: of all (kind ''), then by broker type; an OPEN's only. faults: why candidates that trade
    now or after a wait could not take the signal as it is, with the figures of one of them.
    takers: candidates that could take it, now or after a wait.
    """

    as_of: datetime
    sent: int
    reasons: tuple[Reason, ...] = ()
    sizes: tuple[Sizes, ...] = ()
    faults: dict[Code, str] = field(default_factory=dict)
    takers: int = 0

    def count(self, outcome: Outcome) -> int:
        """Return how many candidates would end so."""
        if outcome is Outcome.SENT:
            return self.sent
        return sum(one.connections for one in self.reasons if one.outcome is outcome)

    @property
    def waiting(self) -> int:
        return self.count(Outcome.WAITING)

    @property
    def skipped(self) -> int:
        return self.count(Outcome.SKIPPED)

    @property
    def not_listed(self) -> int:
        return self.count(Outcome.NOT_LISTED)

    @property
    def denied(self) -> int:
        return self.count(Outcome.DENIED)

    @property
    def candidates(self) -> int:
        return self.sent + sum(one.connections for one in self.reasons)

    @property
    def is_wrong_for_all(self) -> bool:
        """Whether no candidate could take the signal because of what the signal itself says."""
        return not self.takers and any(code in SIGNAL_FAULTS for code in self.faults)


def in_order(counts: Mapping[tuple[Outcome, Code | None], int]) -> tuple[Reason, ...]:
    """Return counts as reasons: by outcome, the most frequent first."""
    order = list(Outcome)
    found = sorted(
        counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1] or "")
    )
    return tuple(Reason(outcome, code, many) for (outcome, code), many in found)


def visible_to(user: Caller, signal: Signal, found: Preview) -> Preview:
    """Return what this user may know of a preview.

    Staff who may read everything see all of it, and so do owners whose approval reaches their own
    accounts only. Providers see how many of their followers would trade, and what is wrong with the
    signal; not how large others trade, nor what keeps their accounts from it.
    """
    feed = signal.feed
    is_own = feed.approved_by_owner and signal.approved_by_id is None and feed.owner_id == user.pk
    if is_own or may(user, Right.READ):
        return found
    counts: Counter[tuple[Outcome, Code | None]] = Counter()
    for one in found.reasons:
        is_public = one.code in {*SIGNAL_FAULTS, *MARKET_FAULTS, *NOT_LISTED}
        counts[one.outcome, one.code if is_public else None] += one.connections
    return replace(found, reasons=in_order(counts), sizes=())


Source = Callable[[Signal], Preview]
_source: Source | None = None


def register_preview(source: Source) -> None:
    """Name the function that computes a preview. The signal may be unsaved."""
    global _source
    _source = source


def preview(signal: Signal) -> Preview:
    """Return what would happen to a signal that is not published, saved or not.

    Reads only, every tenant's rows: who asks is judged by the caller. Raises ConflictError
    STATE_CONFLICT for a published signal: its orders say what happened.
    """
    if signal.is_published:
        detail = f"{signal.number} is published: its orders say what became of it."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    if _source is None:
        raise RuntimeError("No app has registered a preview.")
    return _source(signal)


def require_possible(signal: Signal) -> None:
    """Raise InvalidSignalError if no candidate could take this OPEN signal as it is.

    Without candidates nothing can be judged. MODIFY and CLOSE are never refused.
    """
    if signal.action != Action.OPEN:
        return
    found = preview(signal)
    if found.is_wrong_for_all:
        raise InvalidSignalError(
            [
                Fault(code, _field_of(code, signal), _describe(code, figures))
                for code, figures in found.faults.items()
                if code in SIGNAL_FAULTS
            ]
        )


def require_useful(signal: Signal) -> None:
    """Raise ConflictError if publishing this OPEN signal now would send nothing to anybody because
    of what it says or of today's market; it can be corrected, or published another time."""
    if signal.action != Action.OPEN:
        return
    found = preview(signal)
    if found.takers or not found.faults:
        return
    code, figures = next(iter(found.faults.items()))
    detail = f"No account would take {signal.number}. {_describe(code, figures)}"
    raise ConflictError(code, detail)


def _field_of(code: Code, signal: Signal) -> str:
    if code == Code.PRICE_WRONG_SIDE and signal.order_type == "STOP":
        return "stop_price"
    return SIGNAL_FAULTS[code]


def _describe(code: Code, figures: str) -> str:
    return f"{code.sentence} {figures}".strip()
