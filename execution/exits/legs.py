"""The legs of exits that a signal, a person, a halt or a limit asks for: they begin with which.

Such a leg is numbered, as it may occur often: `close-1` of a CLOSE signal, `owner-2`.
"""

from collections.abc import Sequence

from django.db.models.functions import Coalesce

from positions.close_reasons import CLOSES, CloseReason
from positions.models import ExecutionPosition
from users.models import User

SIGNAL, OWNER, OPERATOR, KILL_SWITCH, LOSS_LIMIT = CLOSERS = tuple(
    CLOSES[reason].leg
    for reason in (
        CloseReason.SIGNAL, CloseReason.OWNER, CloseReason.OPERATOR, CloseReason.KILL_SWITCH,
        CloseReason.LOSS_LIMIT,
    )
)  # fmt: skip
BY_HAND = CLOSES[CloseReason.MANUAL].leg  # of an entry that filled while it was being cancelled
NUMBERED = (*CLOSERS, BY_HAND, CLOSES[CloseReason.TIME].leg, CLOSES[CloseReason.CONDITION].leg)
"""How legs begin that may occur often."""


def closers(position_ids: Sequence[int], by: User | None) -> dict[int, str]:
    """Return how the leg of an exit begins that a person asks for, by position. by: None for a
    signal."""
    if by is None:
        return dict.fromkeys(position_ids, SIGNAL)
    owner = Coalesce("connection__user_id", "connection__admin_id")
    held = ExecutionPosition.objects.filter(pk__in=position_ids).order_by("pk")
    return {
        pk: OWNER if owner_id == by.pk else OPERATOR
        for pk, owner_id in held.values_list("pk", owner)
    }
