"""The first slice of an entry that is sent in slices, with the plan of all of them. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.types import PositionMode
from common.money import plain, to_stored
from common.reason_codes import Code
from execution.submission.entry_prices import PricedEntry
from execution.submission.outcomes import Intent
from execution.submission.sizing import ZERO, Denial
from execution.submission.slicing import (
    Slice,
    most_slices,
    plan_slices,
    slices_needed,
    smallest_with_targets,
)
from execution.submission.volume_profile import VolumeProfile
from signals.slicing import ExecutionStyle

NO_VOLUME = "no volume known, so in equal parts as TWAP"


def first_slice(
    entry: PricedEntry, whole: Intent, notes: Sequence[str], volume: VolumeProfile | None
) -> Intent:
    """Return the first slice of a plan for an entry that was sized and checked as a whole.

    notes: what the log says about the whole. volume: the profile of a VWAP; None: none is known.
    """
    minimum = _smallest_slice(entry)
    slices = _planned(entry, whole.quantity, minimum, volume)
    days, volume_notes = None, list[str]()
    if entry.signal.execution_style == ExecutionStyle.VWAP:
        days = len(volume.days) if volume else 0
        volume_notes = [f"by the volume of {days} days" if days else NO_VOLUME]
    first, asked = slices[0].quantity, entry.signal.slice_count or 1
    fewer = f"; {asked} would be below the minimum of {plain(minimum)}"
    number = f"{len(slices)} slices" if len(slices) > 1 else "one slice"
    text = (
        f"{plain(first)} of {plain(whole.quantity)} in {number}, at "
        f"{plain(whole.expected_price)}{fewer if len(slices) < asked else ''}"
    )
    share = first / whole.quantity
    return whole._replace(
        quantity=first,
        margin=whole.margin and to_stored(whole.margin * share),
        risk=whole.risk and to_stored(whole.risk * share),
        unrounded_quantity=(whole.unrounded_quantity or whole.quantity) - whole.quantity + first,
        detail="; ".join([text, *volume_notes, *notes]),
        slices=slices,
        slice_step=entry.market.instrument.quantity_step,
        slice_minimum=minimum,
        profile_days=days,
    )


def targets_denial(entry: PricedEntry, quantity: Decimal) -> Denial | None:
    """Deny an entry in slices whose targets would leave few of them, or a single large one."""
    asked, instrument = entry.signal.slice_count, entry.market.instrument
    if asked is None:
        return None
    smallest, possible = _smallest_slice(entry), _slices(entry, quantity, instrument.quantity_min)
    left, needed = _slices(entry, quantity, smallest), slices_needed(possible)
    if left >= needed:
        return None
    detail = f"targets need slices of {plain(smallest)}, and the entry is {plain(quantity)}"
    return Denial(Code.SLICES_TOO_FEW, Decimal(left), Decimal(needed), detail)


def _slices(entry: PricedEntry, quantity: Decimal, minimum: Decimal) -> int:
    step, asked = entry.market.instrument.quantity_step, entry.signal.slice_count or 1
    return most_slices(quantity, step=step, minimum=minimum, slices=asked)


def _smallest_slice(entry: PricedEntry) -> Decimal:
    instrument = entry.market.instrument
    if entry.row.position_mode != PositionMode.HEDGING:
        return instrument.quantity_min
    fractions = entry.signal.target_fractions
    return smallest_with_targets(instrument.quantity_min, instrument.quantity_step, fractions)


def _planned(
    entry: PricedEntry, quantity: Decimal, minimum: Decimal, volume: VolumeProfile | None
) -> tuple[Slice, ...]:
    signal = entry.signal
    return plan_slices(
        quantity=quantity,
        step=entry.market.instrument.quantity_step,
        minimum=minimum,
        duration=signal.duration_seconds or 0,
        slices=signal.slice_count or 1,
        variation=signal.slice_variation or ZERO,
        seed=entry.row.id,
        volume=volume,
    )
