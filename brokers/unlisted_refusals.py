"""What became of an order that a broker refused with a code which no table here has.

The code proves nothing, nor does a library's class for it. But the broker has answered, so its
lists decide, and at once: an order that they have was accepted. One that is missing when the broker
would certainly list it was refused, and the owner reads the broker's own code and text.
"""

import asyncio
from collections.abc import Awaitable, Callable

from brokers.base import OutcomeUnknown, ReadFailed, Rejected, outcome_of
from brokers.types import OrderReport
from common.reason_codes import Code


class UnlistedRefusal(OutcomeUnknown):
    """The broker itself has answered, with a code of its own that no table here has."""


FIRST_PAUSES = (0.0, 0.5, 1.5)  # seconds before each look-up
LONGEST_SECONDS = 8.6  # the engine ends a call after about ten, and with it the broker's words


async def found_or_refused(
    refusal: UnlistedRefusal,
    look_up: Callable[[], Awaitable[list[OrderReport] | None]],
    certain_after: float,
) -> list[OrderReport]:
    """Return the reports of an order that the broker has. Raises Rejected if it certainly has none,
    and the refusal, whose outcome is unknown, if that cannot be found out.

    look_up: returns None only if an absence is certain, and raises ReadFailed until then, which is
    certain_after seconds after the order was sent. If that is too long, the engine looks it up.
    """
    pauses = (*FIRST_PAUSES, max(0.0, certain_after - sum(FIRST_PAUSES) + 0.5), 1.0)
    waited = 0.0
    for pause in pauses:
        if (waited := waited + pause) > LONGEST_SECONDS:
            break
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
