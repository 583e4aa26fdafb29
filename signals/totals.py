"""What all accounts have entered for one signal, beside its feed's limit.

The app that trades computes it (`register_total`): a total over all tenants, without their parts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from common.errors import ConflictError
from common.permissions import Caller, Right, may
from common.reason_codes import Code
from common.web.formatting import number
from signals.models import Action, Signal
from signals.publishing.preview import FEW


@dataclass(frozen=True, slots=True)
class SignalTotal:
    """The notional of a signal over all accounts. total, maximum: in `currency`.

    total: what has filled, and may still fill. unconverted: amounts that it lacks, by currency,
    since no price source quotes a rate now. as_of: machine time. others: the owners of these
    accounts beside the feed's own; total is None for a reader who may not see that of so few.
    """

    total: Decimal | None
    maximum: Decimal
    currency: str
    as_of: datetime
    unconverted: Mapping[str, Decimal] = field(default_factory=dict)
    others: int = 0

    @property
    def text(self) -> str:
        """The total for people: `990,000 USD, maximum 1,000,000 USD`."""
        if self.total is None:
            return (
                f"not shown below {FEW} followers, maximum {number(self.maximum)} {self.currency}"
            )
        shown = f"{number(self.total)} {self.currency}"
        for currency, amount in self.unconverted.items():
            shown += f" and {number(amount)} {currency} (no current rate)"
        return f"{shown}, maximum {number(self.maximum)} {self.currency}"


Source = Callable[[Signal], SignalTotal]
_source: Source | None = None


def register_total(source: Source) -> None:
    """Register the function that computes totals of published signals with a limit."""
    global _source
    _source = source


def has_total(signal: Signal) -> bool:
    """Return whether the feed limits what all accounts enter for this signal."""
    is_entry = signal.action == Action.OPEN and signal.is_published
    return is_entry and signal.feed.max_signal_notional is not None


def may_see_total(user: Caller, signal: Signal) -> bool:
    """Return whether a user may see the total: the feed's owner, and staff that may read all."""
    owns = may(user, Right.PUBLISH, owner_id=signal.feed.owner_id)
    return owns or may(user, Right.READ)


def total_of(signal: Signal) -> SignalTotal:
    """Return the total of a published signal.

    It reads all tenants' rows: the caller must check `may_see_total`. Raises ConflictError
    STATE_CONFLICT without a limit, or before the publication.
    """
    if not has_total(signal):
        detail = f"{signal.number} has no limit over all accounts, or it is not published."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    if _source is None:
        raise RuntimeError("No app has registered a total.")
    return _source(signal)


def visible_total(user: Caller, signal: Signal) -> SignalTotal:
    """Return the total as this user may see it: `may_see_total` is checked before.

    One follower's total is what that follower trades. So a provider sees it from FEW followers on;
    their own accounts alone are theirs to see.
    """
    found = total_of(signal)
    if may(user, Right.READ) or found.others == 0 or found.others >= FEW:
        return found
    return replace(found, total=None, unconverted={})
