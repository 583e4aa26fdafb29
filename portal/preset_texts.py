"""What a change of a preset means for what its accounts have open or waiting. Pure."""

from collections.abc import Sequence

from common.confirmation import Consequence
from common.formatting import join_first, number
from execution.preset_use import PresetUse


def use_lines(uses: Sequence[PresetUse]) -> list[Consequence]:
    """Return what becomes of positions, working orders and entries that wait, and from when."""
    lines = [
        Consequence(
            "validated",
            "From the moment it is saved, each entry that is decided uses the new values: the next "
            "signal, and what waits below.",
        )
    ]
    for css, attribute, one, several, what in _KINDS:
        total = sum(getattr(use, attribute) for use in uses)
        if not total:
            continue
        where = join_first([use.name for use in uses if getattr(use, attribute)])
        noun = one if total == 1 else several
        lines.append(Consequence(css, f"{number(total)} {noun} ({where}): {what}"))
    if len(lines) == 1:
        lines.append(Consequence("ok", "Nothing is open or waits there now."))
    return lines


_KINDS = (
    (
        "filled", "positions", "open position", "open positions",
        "size, stop and targets stay. They count in the new limits of exposure.",
    ),
    (
        "submitted", "working", "working order at the broker", "working orders at the broker",
        "not changed and not cancelled. What fills keeps its size.",
    ),
    (
        "pending", "waiting", "entry that waits to be sent", "entries that wait to be sent",
        "sized and checked by the new values when it is sent.",
    ),
    (
        "pending", "later_slices", "later slice", "later slices",
        "keep the quantity that was planned. The new limits of open positions, orders within a "
        "minute, spread and sessions apply to each.",
    ),
    (
        "pending", "held", "order that Fillcast holds", "orders that Fillcast holds",
        "sized and checked again when its price is reached.",
    ),
)  # fmt: skip
