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
from positions.models import ExecutionPosition, PositionQuerySet
from positions.selectors import protection, with_prices
from signals.symbols import slippage_unit
from users.models import User

STALE_AFTER = timedelta(minutes=5)  # of market time: an older price is told as old


@dataclass(frozen=True, slots=True)
class PositionView:
    """One position; an open one has been read `with_prices`."""

    position: Any

    @property
    def shape(self) -> tuple[str, str]:
        return protection(self.position)

    @property
    def is_unprotected(self) -> bool:
        return self.shape[0] == "naked"

    @property
    def unprotected_reason(self) -> str:
        """Why it has no stop at this moment, in a sentence."""
        why = self.position.unprotected_reason
        return Code[why].sentence if why in Code.__members__ else ""

    @property
    def exit_blocker(self) -> str:
        """Why no exit can be sent now, in sentences; '' if one can."""
        code = getattr(self.position, "exit_blocker", "")
        return f"{Code[code].sentence} {Code[code].hint}" if code else ""

    @property
    def is_without_stop(self) -> bool:
        """Nobody watches a stop: it is missing, or none was ever wanted."""
        return self.is_unprotected or self.position.sl is None

    @property
    def unprotected_seconds(self) -> float:
        """Machine time without its stop; before that was noted, since we last did anything."""
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
    def direction(self) -> str:
        return "short" if self.position.side == "SELL" else "long"

    @property
    def net(self) -> Decimal:
        """What it has made so far, after commission."""
        made: Decimal = self.position.realized_pnl - self.position.commission
        return made

    @property
    def free(self) -> Decimal:
        """What is not being closed already."""
        left: Decimal = self.position.quantity - self.position.reserved
        return left

    @property
    def is_priced_late(self) -> bool:
        at = self.position.price_time
        return at is not None and market_now() - at > STALE_AFTER

    @property
    def unit(self) -> Unit:
        """What distances of its price are told in: pips of a currency, basis points of a coin."""
        return slippage_unit(self.position.pair)

    @property
    def to_stop(self) -> Decimal | None:
        """How far the price may still go, in `unit`; negative: it is past the stop."""
        position, price = self.position, self.position.current_price
        if position.sl is None or price is None or not position.pip:
            return None
        distance = (price - position.sl) * position.broker_side.sign
        return divide(
            distance, size_of(self.unit, price=price, pip=position.pip, tick=position.pip)
        )


def positions_of(user: User) -> PositionQuerySet:
    """Return all of a tenant's positions, newest first."""
    mine: PositionQuerySet = (
        ExecutionPosition.objects.filter(connection__user=user)
        .select_related("connection__snapshot", "signal__feed")
        .defer("connection__sealed_credentials")
        .order_by("-opened_at", "-pk")
    )
    return mine


def open_positions(user: User) -> list[PositionView]:
    """Return the open ones, those without a stop first."""
    held = [PositionView(row) for row in with_prices(positions_of(user).open())]
    return sorted(held, key=lambda one: not one.is_unprotected)
