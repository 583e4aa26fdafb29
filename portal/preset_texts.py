"""What a change of sizing or limits means for what accounts have open or waiting. Pure."""

from collections.abc import Sequence

from analytics.what_if.preset_use import PresetUse
from common.web.confirmation import Consequence
from common.web.formatting import join_first, number


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
        lines.append(Consequence("ok", _NOTHING))
    return lines


def term_lines(uses: Sequence[PresetUse]) -> list[Consequence]:
    """Return what changed terms of a subscription mean: size, sides, end, symbols, stop rule."""
    lines = use_lines(uses)
    if any(use.has_any for use in uses):
        rest = (
            "A stop rule that is changed here reaches positions that open from now on; a side that "
            "is excluded, or an end that has come, denies entries that wait; a symbol counts for "
            "each entry that is decided from now on, the priority for later signals."
        )
        lines.append(Consequence("pending", rest))
    return lines


def loss_limit_lines(uses: Sequence[PresetUse]) -> list[Consequence]:
    """Return what a loss limit does to what is open or waits, once it is reached."""
    text = "It is checked within a minute, and then with each new balance. "
    lines = [
        Consequence("validated", text + "If it is reached already, it pauses entries then."),
        Consequence("paused", "When it is reached, entries pause. Exits go on."),
    ]
    sums = {name: sum(getattr(use, name) for use in uses) for name in _WHEN_REACHED}
    for name, (css, one, several, what) in _WHEN_REACHED.items():
        if total := sums[name]:
            where = join_first([use.name for use in uses if getattr(use, name)])
            noun = one if total == 1 else several
            lines.append(Consequence(css, f"{number(total)} {noun} ({where}): {what}"))
    if not any(sums.values()):
        lines.append(Consequence("ok", _NOTHING))
    return lines


_NOTHING = "Nothing is open or waits there now."
_CLOSES = "“Pause entries and close all positions”"
_WHEN_REACHED = {
    "positions": (
        "filled", "open position", "open positions",
        f"kept, with stop and targets, unless you choose {_CLOSES}.",
    ),
    "working": (
        "submitted", "working order at the broker", "working orders at the broker",
        f"kept, and may still fill, unless you choose {_CLOSES}: then cancelled.",
    ),
    "not_sent": (
        "denied", "entry that waits", "entries that wait", "denied while the pause lasts.",
    ),
}  # fmt: skip

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
