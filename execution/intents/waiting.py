"""Orders that wait: until when, why, and what is asked for them meanwhile. In the claim's
transaction."""

from collections.abc import Sequence

from common.sql import columns, run
from execution.exits.safety import Needs
from execution.intents import claim_sql as sql
from execution.intents.decisions import Later


def postpone(later: Sequence[tuple[int, Later]]) -> None:
    """Have rows wait a second, those with a code for longer, which they tell their owner once."""
    if brief := [order_id for order_id, why in later if why.code is None]:
        run(sql.POSTPONE, (brief,))
    if told := [(order_id, why.code.value, why.detail) for order_id, why in later if why.code]:
        run(sql.POSTPONE_TOLD, columns(told, 3))


def prepare(later: Sequence[tuple[int, Later]]) -> None:
    """Ask for what exits that wait need of their positions meanwhile."""
    wanted = [
        (order_id, why.needs is Needs.LIFT)
        for order_id, why in later
        if why.needs in (Needs.LIFT, Needs.READ, Needs.NUMBER)
    ]
    if wanted:
        run(sql.PREPARE, columns(wanted, 2))
    if halted := [order_id for order_id, why in later if why.needs is Needs.RELEASE]:
        run(sql.PUT_BACK, (halted,))
