"""How an exit leaves beside live protection without ever reversing what it closes. Pure.

What an account can do (`Capabilities.exit_safety`) decides; the broker's name never does.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any

from brokers.types import ExitSafety


class ExitBlocker(StrEnum):
    """What must happen before an exit may leave."""

    NUMBER = "NUMBER"  # the broker's own number of the position
    TURN = "TURN"  # the exit in front of it has to end first
    LIFT = "LIFT"  # the broker has to take the position's levels away, and say so
    READ = "READ"  # the broker has to say what it holds
    RELEASE = "RELEASE"  # a halt has to end; until then the levels that made way go back


def while_halted(position: Any) -> ExitBlocker | None:
    """Return what a halted exit needs: a position must not stand without its stop as long as that.
    One that is on its way already ends first."""
    return (
        ExitBlocker.RELEASE
        if position.protection_suspended and not position.others_leaving
        else None
    )


def exit_blocker(safety: ExitSafety, position: Any) -> ExitBlocker | None:
    """Return what an exit of the position waits for; None: it may leave now.

    position: a row of `claim_sql.EXITS`. What a TICKET or REDUCE_ONLY broker refuses by itself is
    sent at once. Where several of our positions are one at the broker, such an exit could still
    take a neighbour's share: it waits as if the broker did not look at all.
    """
    if safety is ExitSafety.TICKET and not position.broker_position_id:
        return ExitBlocker.NUMBER
    if _broker_limits_exit(safety, position):
        return None
    if position.others_leaving:
        return ExitBlocker.TURN
    if position.is_protected and safety is not ExitSafety.OCA:  # the group sees to that
        return ExitBlocker.LIFT
    # Since the last thing that happened to it; nobody else sees to its owner's own hand.
    return None if position.is_read and position.broker_quantity > 0 else ExitBlocker.READ


def max_exit_quantity(safety: ExitSafety, position: Any) -> Decimal:
    """Return how much an exit that `needs` nothing may take, in base units."""
    closable: Decimal = position.closable
    return (
        closable
        if _broker_limits_exit(safety, position)
        else min(closable, position.broker_quantity)
    )


def known_broker_quantity(safety: ExitSafety, position: Any) -> Decimal | None:
    """Return how much of the position its broker held when it was last read, where that limits an
    exit; None: it does not, or the position has changed since."""
    if _broker_limits_exit(safety, position) or not position.is_known:
        return None
    held: Decimal = position.broker_quantity
    return held


def _broker_limits_exit(safety: ExitSafety, position: Any) -> bool:
    """Whether the broker itself lets an exit take nothing but what is open of this position."""
    return safety in (ExitSafety.TICKET, ExitSafety.REDUCE_ONLY) and not position.shares
