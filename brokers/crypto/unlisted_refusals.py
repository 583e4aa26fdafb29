"""What became of an order that an exchange refused with a code which no table here has.

Neither the code nor ccxt's class for it proves anything. But the exchange has answered, so its
lists decide, and at once: an order that they have was accepted. One that is missing when the
exchange would certainly list it was refused, and the owner reads the exchange's code and text.
"""

import asyncio
from collections.abc import Awaitable, Callable

from brokers.base import OutcomeUnknown, ReadFailed, Rejected, outcome_of
from brokers.crypto.exchanges import ARRIVES_SECONDS
from brokers.types import OrderReport
from common.reason_codes import Code

PAUSES = (0.0, 0.5, 1.5, ARRIVES_SECONDS - 1.5, 1.0)  # seconds before each look-up


async def found_or_refused(
    refusal: OutcomeUnknown, look_up: Callable[[], Awaitable[list[OrderReport] | None]]
) -> list[OrderReport]:
    """Return the reports of an order that the exchange has. Raises Rejected if it certainly has
    none, and the refusal, whose outcome is unknown, if that cannot be found out.

    look_up: returns None only if an absence is certain, and raises ReadFailed until then.
    """
    for pause in PAUSES:
        await asyncio.sleep(pause)
        match await outcome_of(look_up()):
            case ReadFailed():
                continue
            case Exception() as error:
                raise error
            case None:
                raise Rejected(Code.REJECTED_BY_BROKER, refusal.detail) from refusal
            case reports:
                return reports
    raise refusal
