"""Exit safety: how an exit is sent beside live protection without reversing the position. Pure.

It depends on what an account can do (`Capabilities.exit_safety`), never on the broker's name.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from brokers.types import ExitSafety


class ExitBlocker(StrEnum):
    """What must happen before an exit may be sent."""

    POSITION_ID = "POSITION_ID"  # the broker must report its id of the position
    OTHER_EXITS = "OTHER_EXITS"  # the exits in front of it must end
    LEVELS_REMOVAL = (
        "LEVELS_REMOVAL"  # the broker must confirm that it removed the position's levels
    )
    BROKER_READ = "BROKER_READ"  # the position must be read at the broker
    HALT_END = "HALT_END"  # a halt must end; until then suspended levels are placed again


class ExitState(Protocol):
    """What the claim of an exit reads of its position (`claim_sql.EXITS`). Base units."""

    @property
    def broker_position_id(self) -> str: ...
    @property
    def protection_suspended(self) -> bool: ...
    @property
    def is_protected(self) -> bool:
        """The broker holds a level, or may hold one that was sent and not confirmed."""

    @property
    def has_exit_ahead(self) -> bool:
        """Another exit of the position is in flight, or waits in front of this one."""

    @property
    def shares_broker_position(self) -> bool:
        """Several of our positions may be one at the broker."""

    @property
    def closable(self) -> Decimal:
        """What is open and not taken by exits in front of this one."""

    @property
    def broker_quantity(self) -> Decimal | None:
        """What the broker held of it at the last read."""

    @property
    def is_known(self) -> bool:
        """The position has not changed since that read."""

    @property
    def is_read(self) -> bool:
        """As `is_known`, and the read was a few seconds ago."""


def while_halted(position: ExitState) -> ExitBlocker | None:
    """Return what blocks a halted exit: HALT_END if the position's levels are suspended for it.

    A position must not be without its stop for as long as a halt may last. If another of its exits
    is in flight, that one ends first.
    """
    return (
        ExitBlocker.HALT_END
        if position.protection_suspended and not position.has_exit_ahead
        else None
    )


def exit_blocker(safety: ExitSafety, position: ExitState) -> ExitBlocker | None:
    """Return what an exit of the position waits for; None: it may be sent now.

    TICKET and REDUCE_ONLY brokers reject an exit that is too large, so it is sent at once. Where
    several of our positions are one at the broker, such an exit could still close another one's
    part, so it waits as if the broker did not check.
    """
    if safety is ExitSafety.TICKET and not position.broker_position_id:
        return ExitBlocker.POSITION_ID
    if _broker_limits_exit(safety, position):
        return None
    if position.has_exit_ahead:
        return ExitBlocker.OTHER_EXITS
    # A read since the last activity: its owner may have closed it at the broker. Before the levels
    # are removed, too: they stay while the broker cannot be read, since no exit could follow.
    if not position.is_read or _broker_quantity(position) <= 0:
        return ExitBlocker.BROKER_READ
    if position.is_protected and safety is not ExitSafety.OCA:  # its group cancels the levels
        return ExitBlocker.LEVELS_REMOVAL
    return None


def max_exit_quantity(safety: ExitSafety, position: ExitState) -> Decimal:
    """Return how much an exit without an `exit_blocker` may take, in base units."""
    if _broker_limits_exit(safety, position):
        return position.closable
    return min(position.closable, _broker_quantity(position))


def known_broker_quantity(safety: ExitSafety, position: ExitState) -> Decimal | None:
    """Return how much of the position the broker held at the last read, if that limits an exit.

    None: the broker limits exits itself, or the position has changed since the read.
    """
    if _broker_limits_exit(safety, position) or not position.is_known:
        return None
    return position.broker_quantity


def _broker_quantity(position: ExitState) -> Decimal:
    return position.broker_quantity if position.broker_quantity is not None else Decimal(0)


def _broker_limits_exit(safety: ExitSafety, position: ExitState) -> bool:
    """Return whether the broker lets an exit close only what is open of this position."""
    return (
        safety in (ExitSafety.TICKET, ExitSafety.REDUCE_ONLY)
        and not position.shares_broker_position
    )
