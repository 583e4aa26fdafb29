"""Preview of a publication: its candidates by outcome, if it were published now.

The app that trades computes it (`register_preview`) with the rules of fan-out and claim.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from common.errors import ConflictError
from common.permissions import Caller, Right, may
from common.reason_codes import Code
from signals.field_error import FieldError
from signals.models import TRAIL_FIELDS, TRIGGERED, Action, Signal
from signals.reading.errors import InvalidSignalError


class Outcome(StrEnum):
    """What would happen to a candidate."""

    SENT = "sent"
    WAITING = "waiting"
    SKIPPED = "skipped"
    NOT_LISTED = "not_listed"  # its broker does not list the symbol
    DENIED = "denied"


PROVIDER_FIELDS = ("provider_quantity", "provider_equity", "provider_currency")
# Denials for which the signal itself is the reason, and the field that is to be corrected.
SIGNAL_DENIALS: dict[Code, str] = {
    Code.STOP_AT_ENTRY: "sl",
    Code.STOP_TOO_NEAR: "sl",
    Code.STOP_REQUIRED: "sl",
    Code.PROVIDER_SIZE_MISSING: "provider_quantity",  # or another of PROVIDER_FIELDS: `_field_of`
    Code.TARGET_WRONG_SIDE: "targets",
    Code.PRICE_WRONG_SIDE: "open_price",  # a stop order's is its stop price: `_field_of`
    Code.LIMIT_BEYOND_STOP: "open_price",
    Code.ACTIVATION_REACHED: "activation_price",
    Code.TRAIL_TOO_WIDE: "trail_distance",  # or another of TRAIL_FIELDS: `_field_of`
    Code.DISTANCE_BELOW_TICK: "trail_distance",  # likewise
    Code.EXPIRY_TOO_NEAR: "valid_until",
    Code.SLIPPAGE_LIMIT: "open_price",
    Code.PRICE_UNREASONABLE: "open_price",  # or another price: `_field_of`
    Code.ORDER_TYPE_UNSUPPORTED: "order_type",
    Code.LIMIT_ORDERS_OFF: "order_type",
    Code.STOP_ORDERS_OFF: "order_type",
    Code.SIGNAL_EXPIRED: "valid_until",
    Code.SLICES_UNSUPPORTED: "execution_style",
    Code.SLICE_PRICE_LIMIT: "price_limit",
}
FEW = 5
"""Figures of accounts are shown to a provider only if they are of so many followers."""
# For accounts that do not list the symbol. Their number is public (`symbol_reach`).
NOT_LISTED = frozenset({Code.SYMBOL_NOT_AT_BROKER})
# A limit of the feed, which its owner has set.
FEED_DENIALS = frozenset({Code.SIGNAL_NOTIONAL})
# Denials for which the current market is the reason: the signal may be stored and published later.
MARKET_DENIALS = frozenset({Code.QUOTE_STALE, Code.SPREAD_LIMIT, Code.ATR_UNKNOWN})


@dataclass(frozen=True, slots=True)
class Reason:
    """How many candidates would not get an order at once, and why.

    code: None for reasons of accounts that the reader may not see.
    """

    outcome: Outcome
    code: Code | None
    connections: int

    @property
    def name(self) -> str:
        """The code as text; empty without one."""
        return self.code.value if self.code else ""

    @property
    def sentence(self) -> str:
        """The sentence of the code."""
        return self.code.sentence if self.code else "For reasons of the accounts themselves."

    @property
    def hint(self) -> str:
        """What to do about it; empty without a code."""
        return self.code.hint if self.code else ""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The range of quantities that would be sent, in base units. broker_type: '' for all types."""

    broker_type: str
    connections: int
    smallest: Decimal
    median: Decimal
    largest: Decimal


@dataclass(frozen=True, slots=True)
class Preview:
    """The current candidates by outcome.

    sizes: of all broker types (''), then of each; only for an OPEN. common_denials: why candidates
    that may trade, now or after a wait, could not take the signal as it is, with the figures of one
    of them; only for what is not particular to an account (SIGNAL_DENIALS, MARKET_DENIALS).
    able_candidates: how many candidates could take it, now or after a wait. correlated: how many
    that would get an order have a warning about correlated exposure. followers: the owners of the
    candidates; sent_followers: of those that would get an order; sent_others: without the feed's
    own owner. is_owners_alone: all candidates are accounts of the feed's owner. quantity: what
    would be sent to all of them, or closed, in base units; None: it is not the reader's to see, or
    nothing is sent.
    """

    as_of: datetime
    sent: int
    reasons: tuple[Reason, ...] = ()
    sizes: tuple[Sizes, ...] = ()
    common_denials: dict[Code, str] = field(default_factory=dict)
    able_candidates: int = 0
    correlated: int = 0
    followers: int = 0
    sent_followers: int = 0
    sent_others: int = 0
    is_owners_alone: bool = False
    quantity: Decimal | None = None

    def count(self, outcome: Outcome) -> int:
        """Return how many candidates would have this outcome."""
        if outcome is Outcome.SENT:
            return self.sent
        return sum(reason.connections for reason in self.reasons if reason.outcome is outcome)

    @property
    def waiting(self) -> int:
        """Candidates whose order would wait."""
        return self.count(Outcome.WAITING)

    @property
    def skipped(self) -> int:
        """Candidates that would be skipped."""
        return self.count(Outcome.SKIPPED)

    @property
    def not_listed(self) -> int:
        """Candidates whose broker does not list the symbol."""
        return self.count(Outcome.NOT_LISTED)

    @property
    def denied(self) -> int:
        """Candidates whose order our rules would deny."""
        return self.count(Outcome.DENIED)

    @property
    def candidates(self) -> int:
        """All candidates."""
        return self.sent + sum(reason.connections for reason in self.reasons)

    @property
    def is_wrong_for_all(self) -> bool:
        """Whether no candidate could take the signal because of the signal itself."""
        return not self.able_candidates and any(
            code in SIGNAL_DENIALS for code in self.common_denials
        )


def in_order(counts: Mapping[tuple[Outcome, Code | None], int]) -> tuple[Reason, ...]:
    """Return counts as reasons: by outcome, the most frequent first."""
    order = list(Outcome)
    ordered = sorted(
        counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1] or "")
    )
    return tuple(Reason(outcome, code, count) for (outcome, code), count in ordered)


def visible_to(user: Caller, signal: Signal, preview: Preview) -> Preview:
    """Return the part of a preview that this user may see.

    Staff who may read everything see all of it, and so do owners whose approval covers only their
    own accounts, or whose feed only their own accounts follow. Providers see how many followers
    would trade and what is wrong with the signal, but not the followers' sizes, nor the reasons of
    their accounts. What all of them would send is shown to two digits, if it is that of FEW
    followers at least, the provider not counted: who knows their own part knows the rest. Their own
    accounts alone are theirs to see.
    """
    feed = signal.feed
    for_owner_only = feed.approved_by_owner and signal.approved_by_id is None
    is_own = feed.owner_id == user.pk and (for_owner_only or preview.is_owners_alone)
    if is_own or may(user, Right.READ):
        return preview
    counts: Counter[tuple[Outcome, Code | None]] = Counter()
    for reason in preview.reasons:
        shown = reason.code if is_public_reason(reason.code) else None
        counts[reason.outcome, shown] += reason.connections
    is_shown = preview.sent_others == 0 or preview.sent_others >= FEW
    quantity = preview.quantity if is_shown else None
    return replace(
        preview, reasons=in_order(counts), sizes=(), correlated=0, quantity=rounded(quantity)
    )


def rounded(value: Decimal | None) -> Decimal | None:
    """Return two digits of a total over several owners, so that two of them reveal no part."""
    if not value:
        return value
    return value.quantize(Decimal(1).scaleb(value.adjusted() - 1), ROUND_HALF_EVEN)


def is_public_reason(code: Code | None) -> bool:
    """Whether a reason concerns the signal, its feed or the market, not one account alone."""
    return code in {*SIGNAL_DENIALS, *FEED_DENIALS, *MARKET_DENIALS, *NOT_LISTED}


Source = Callable[[Signal], Preview]
_source: Source | None = None


def register_preview(source: Source) -> None:
    """Register the function that computes previews. Its signal may be unsaved."""
    global _source
    _source = source


def preview(signal: Signal) -> Preview:
    """Return the preview of an unpublished signal, saved or not.

    It only reads, but all tenants' rows: the caller must check the user's rights. Raises
    ConflictError STATE_CONFLICT for a published signal.
    """
    if signal.is_published:
        detail = f"{signal.number} is published: see its orders for the results."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    if _source is None:
        raise RuntimeError("No app has registered a preview.")
    return _source(signal)


def require_possible(signal: Signal) -> None:
    """Raise InvalidSignalError if no candidate could take this OPEN signal as it is.

    Without candidates nothing can be evaluated. MODIFY and CLOSE are never refused.
    """
    if signal.action == Action.OPEN:
        possible_preview(signal)


def possible_preview(signal: Signal) -> Preview:
    """Return the preview; raise InvalidSignalError if no candidate could take the signal as it is.

    Without candidates nothing can be evaluated.
    """
    expected = preview(signal)
    if expected.is_wrong_for_all:
        raise InvalidSignalError(
            [
                FieldError(code, _field_of(code, signal, figures), _describe(code, figures))
                for code, figures in expected.common_denials.items()
                if code in SIGNAL_DENIALS
            ]
        )
    return expected


def require_useful(signal: Signal) -> None:
    """Raise ConflictError if publishing this OPEN signal now would send no order, because of the
    signal or the current market: it can be corrected, or published later."""
    if signal.action != Action.OPEN:
        return
    expected = preview(signal)
    if expected.able_candidates or not expected.common_denials:
        return
    code, figures = next(iter(expected.common_denials.items()))
    detail = f"No account would take {signal.number}. {_describe(code, figures)}"
    raise ConflictError(code, detail)


def _field_of(code: Code, signal: Signal, figures: str) -> str:
    if code == Code.PRICE_WRONG_SIDE and signal.order_type in TRIGGERED:
        return "stop_price"
    if code == Code.PRICE_UNREASONABLE:  # its detail begins with the field
        return figures.partition(" ")[0]
    if code == Code.ORDER_TYPE_UNSUPPORTED and signal.time_in_force in figures:
        return "time_in_force"
    if code in (Code.TRAIL_TOO_WIDE, Code.DISTANCE_BELOW_TICK):
        return next(name for name in TRAIL_FIELDS if getattr(signal, name) is not None)
    if code == Code.PROVIDER_SIZE_MISSING:
        return next(name for name in PROVIDER_FIELDS if name in figures)
    return SIGNAL_DENIALS[code]


def _describe(code: Code, figures: str) -> str:
    return f"{code.sentence} {figures}".strip()
