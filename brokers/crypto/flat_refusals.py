"""What a refusal means that says that there is nothing to reduce.

Exchanges say so too while the position is open: when other reduce-only orders take all of it, or
when the exit is larger than what is left. So the positions are read before that is believed.
"""

from collections.abc import Awaitable, Callable

from brokers.base import Rejected, outcome_of
from brokers.types import BrokerPosition, OrderRequest
from common.reason_codes import Code


async def verified(
    refused: Rejected,
    request: OrderRequest,
    read_positions: Callable[[], Awaitable[list[BrokerPosition]]],
) -> Rejected:
    """Return the refusal of an exit with a code that the exchange's positions confirm.

    NO_POSITION: nothing is open. VOLUME_INVALID: less than the exit is open. REJECTED_BY_BROKER:
    all of it is open, or the positions cannot be read.
    """
    if not request.reduce_only or refused.code is not Code.NO_POSITION:
        return refused
    read = await outcome_of(read_positions())
    if isinstance(read, Exception) or not all(one.is_readable for one in read):
        return Rejected(Code.REJECTED_BY_BROKER, refused.detail)
    held = [
        one.quantity
        for one in read
        if one.symbol == request.symbol and one.side is request.side.opposite
    ]
    if not held:
        return refused
    is_enough = sum(held) >= request.quantity
    code = Code.REJECTED_BY_BROKER if is_enough else Code.VOLUME_INVALID
    return Rejected(code, refused.detail)
