"""A tenant's positions, with what they are worth and who watches their stop."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from common.clocks import market_now
from common.money import divide
from common.reason_codes import Code
from common.units import Unit, size_of
from common.web.list_columns import other_columns
from connections.models import ExecutionConnection
from connections.selectors import is_twin_account
from positions.models import ExecutionPosition, PositionQuerySet
from positions.selectors import protection, with_prices
from signals.models import Signal
from signals.symbols import slippage_unit
from users.models import User

STALE_AFTER = timedelta(minutes=5)  # of market time: an older price is marked as late


@dataclass(frozen=True, slots=True)
class PositionView:
    """One position for display; an open one must come from `with_prices`."""

    position: Any

    @property
    def shape(self) -> tuple[str, str]:
        return protection(self.position)

    @property
    def is_unprotected(self) -> bool:
        return self.shape[0] == "unprotected"

    @property
    def unprotected_reason(self) -> str:
        """Why its stop is missing now, in a sentence; empty: not known."""
        why = self.position.unprotected_reason
        return Code[why].sentence if why in Code.__members__ else ""

    @property
    def exit_blocker(self) -> str:
        """Why no exit can be sent now, in sentences; empty: one can."""
        code = getattr(self.position, "exit_blocker", "")
        return f"{Code[code].sentence} {Code[code].hint}" if code else ""

    @property
    def is_without_stop(self) -> bool:
        """Whether no stop is active: it is missing, or the signal has none."""
        return self.is_unprotected or self.position.sl is None

    @property
    def unprotected_seconds(self) -> float:
        """Seconds of machine time without its stop; if not recorded, since our last activity."""
        since = self.position.unprotected_since or self.position.last_activity_at
        age: timedelta = timezone.now() - since
        return age.total_seconds()

    @property
    def currency(self) -> str:
        snapshot = getattr(self.position.connection, "snapshot", None)
        return snapshot.currency if snapshot else ""

    @property
    def is_paper(self) -> bool:
        return bool(self.position.connection.type == "paper")

    @property
    def is_twin(self) -> bool:
        """Whether it is held by the paper twin of a subscription, which is in no sum."""
        account = self.position.connection
        return is_twin_account(account.type, account.account)

    @property
    def direction(self) -> str:
        return "short" if self.position.side == "SELL" else "long"

    @property
    def net(self) -> Decimal:
        """Its realized result after commission and swap."""
        made: Decimal = self.position.net_result
        return made

    @property
    def free(self) -> Decimal:
        """The open quantity that no exit has reserved."""
        left: Decimal = self.position.quantity - self.position.reserved
        return left

    @property
    def is_priced_late(self) -> bool:
        at = self.position.price_time
        return at is not None and market_now() - at > STALE_AFTER

    @property
    def unit(self) -> Unit:
        """The unit of price distances: pips for currencies, basis points for coins."""
        return slippage_unit(self.position.pair)

    @property
    def to_stop(self) -> Decimal | None:
        """The distance to the stop in `unit`; negative: the price is past it."""
        return self._distance(self.position.sl, sign=1)

    @property
    def to_target(self) -> Decimal | None:
        """The distance to the next target in `unit`; negative: the price is past it."""
        return self._distance(self.position.tp, sign=-1)

    def _distance(self, level: Decimal | None, *, sign: int) -> Decimal | None:
        position, price = self.position, self.position.current_price
        if level is None or price is None or not position.pip:
            return None
        distance = (price - level) * position.broker_side.sign * sign
        return divide(
            distance, size_of(self.unit, price=price, pip=position.pip, tick=position.pip)
        )


def positions_of(user: User) -> PositionQuerySet:
    """Return all of a tenant's positions, newest first."""
    mine: PositionQuerySet = (
        ExecutionPosition.objects.filter(connection__user=user)
        .select_related("connection__snapshot", "signal__feed", "stop_rule")
        .defer("connection__sealed_credentials")
        .order_by("-opened_at", "-pk")
    )
    return mine


# A list shows the signal's number, and the account's name and currency.
_NOT_LISTED = [
    *other_columns("signal", Signal, "id"),
    *other_columns("connection", ExecutionConnection, "id", "name", "type", "account"),
]


def open_positions(user: User) -> list[PositionView]:
    """Return the open ones, those without a stop first, with what a list shows of each."""
    listed = ("connection__snapshot", "signal", "stop_rule")
    found = positions_of(user).open().select_related(None).select_related(*listed)
    held = [PositionView(row) for row in with_prices(found.defer(*_NOT_LISTED))]
    return sorted(held, key=lambda one: not one.is_unprotected)
