"""What becomes of a time in force at a broker, and what the engine does in its place. Pure.

Where a broker has no GTD it gets the order as GTC, and the engine ends it at `valid_until` by a
cancel (`recovery/sweeps.py`), as it ends every other working entry. Such an order has no
`expires_at`, which is the end that its broker was given.
"""

from datetime import datetime

from brokers.account_capabilities import Capabilities
from brokers.types import TimeInForce
from common.reason_codes import Code
from execution.submission.outcomes import TIMES_IN_FORCE
from execution.submission.sizing import Denial


def is_emulated(time_in_force: str, capabilities: Capabilities) -> bool:
    """Return whether the engine ends such orders, because their broker does not."""
    takes = capabilities.times_in_force
    return (
        time_in_force == TimeInForce.GTD
        and TimeInForce.GTD not in takes
        and TimeInForce.GTC in takes
    )


def denial(time_in_force: str, capabilities: Capabilities) -> Denial | None:
    """Deny a time in force that neither the broker nor the engine can give an order."""
    takes = capabilities.times_in_force
    if TIMES_IN_FORCE[time_in_force] in takes or is_emulated(time_in_force, capabilities):
        return None
    detail = "GTD or GTC" if time_in_force == TimeInForce.GTD else time_in_force
    return Denial(Code.ORDER_TYPE_UNSUPPORTED, detail=detail)


def expiry_at_broker(
    time_in_force: str, valid_until: datetime | None, capabilities: Capabilities
) -> datetime | None:
    """Return the end that the broker is given with an order; None: it has none there."""
    is_given = time_in_force == TimeInForce.GTD and TimeInForce.GTD in capabilities.times_in_force
    return valid_until if is_given else None


def sent(time_in_force: str, expires_at: datetime | None) -> TimeInForce:
    """Return the time in force that is sent. expires_at: as stored with the intent."""
    if time_in_force == TimeInForce.GTD and expires_at is None:
        return TimeInForce.GTC
    return TIMES_IN_FORCE[time_in_force]
