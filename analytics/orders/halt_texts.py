"""What a halt does with what is live, in sentences: for the console, the portal and the command."""

from collections.abc import Mapping
from decimal import Decimal

from common.web.confirmation import Consequence
from common.web.formatting import amount
from connections.models import HaltMode
from execution.monitoring.halt_actions import HaltImpact

RELEASE_RULE = (
    "Skipped signals and denied entries are not executed later. Entries that still wait for a"
    " trigger or a condition go on, and so do later slices if none was denied."
)
"""What a release makes of what the halt has stopped."""


def worth_text(amounts: Mapping[str, Decimal]) -> str:
    """Return ` (1,200.00 USD, 300.00 EUR)`; nothing for no amounts."""
    return f" ({worth})" if (worth := _worth(amounts)) else ""


def unsent_kinds(impact: HaltImpact) -> str:
    """Return ` (2 wait for a trigger or a condition: 40.00 USD; 1 later slice)`: each kind of
    unsent entries with its money, as far as it has a size; only the money if all are queued."""
    if impact.queued == impact.waiting:
        return worth_text(impact.queued_amounts)
    waits = "waits" if impact.held == 1 else "wait"
    slices = "later slice" if impact.slices == 1 else "later slices"
    kinds = [
        (impact.queued, "queued to be sent", impact.queued_amounts),
        (impact.held, f"{waits} for a trigger or a condition", impact.held_amounts),
        (impact.slices, slices, impact.slice_amounts),
    ]
    texts = [
        ": ".join(filter(None, (f"{count} {kind}", _worth(amounts))))
        for count, kind, amounts in kinds
        if count
    ]
    return f" ({'; '.join(texts)})"


def _worth(amounts: Mapping[str, Decimal]) -> str:
    return ", ".join(amount(worth, currency) for currency, worth in amounts.items())


def halt_lines(
    impact: HaltImpact, *, mode: str, cancels: bool, flattens: bool, may_choose: bool = False
) -> list[Consequence]:
    """Return what a halt makes of each kind of order and of the positions, in counts and money.

    cancels, flattens: whether it also cancels the entries and closes the positions. may_choose: a
    person can still choose that beside these lines.
    """
    return [
        *_unsent(impact, cancels=cancels, kept=", unless you cancel them here" * may_choose),
        _at_brokers(
            impact,
            cancels=cancels,
            flattens=flattens,
            kept=", unless you cancel them here" * may_choose,
        ),
        _positions(
            impact, mode, flattens=flattens, kept=", unless you close them here" * may_choose
        ),
        *_exits(impact, mode),
    ]


def _unsent(impact: HaltImpact, *, cancels: bool, kept: str) -> list[Consequence]:
    turn = "cancelled" if cancels else "denied when its turn comes"
    queued = f"Entries queued to be sent: {impact.queued}{worth_text(impact.queued_amounts)}."
    lines = [f"{queued} None is sent: each is {turn}."]
    if impact.held:
        worth = worth_text(impact.held_amounts)
        waits = f"Entries that wait for a trigger or a condition: {impact.held}{worth}."
        lines.append(
            f"{waits} They are cancelled."
            if cancels
            else f"{waits} They wait on{kept}. One that fires while the halt is set is denied for "
            "good; the others are sent when they fire after the release."
        )
    if impact.slices:
        worth = worth_text(impact.slice_amounts)
        slices = f"Later slices of entries that have begun: {impact.slices}{worth}."
        lines.append(
            f"{slices} They are cancelled."
            if cancels
            else f"{slices} One that is due while the halt is set is denied and ends its entry"
            f"{kept}."
        )
    return [Consequence("denied", text) for text in lines]


def _at_brokers(impact: HaltImpact, *, cancels: bool, flattens: bool, kept: str) -> Consequence:
    found = f"Entries at brokers: {impact.working}{worth_text(impact.working_amounts)}."
    if not cancels:
        return Consequence("attention", f"{found} They stay there and may still fill{kept}.")
    filled = "is closed too" if flattens else "stays open"
    text = f"{found} Each broker is asked to cancel; what fills first {filled}."
    return Consequence("cancelreq", text)


def _positions(impact: HaltImpact, mode: str, *, flattens: bool, kept: str) -> Consequence:
    found = f"Open positions: {impact.positions}{worth_text(impact.open_amounts)}."
    if flattens:
        return Consequence("submitting", f"{found} They are closed at the market.")
    if mode == HaltMode.HALTED:
        text = f"{found} They stay open. Only stops and targets that brokers hold work meanwhile."
        return Consequence("unprotected", text)
    stay = f"They stay open, and their stops and targets keep working{kept}."
    return Consequence("safe", f"{found} {stay}")


def _exits(impact: HaltImpact, mode: str) -> list[Consequence]:
    if not impact.exits and mode != HaltMode.HALTED:
        return []
    found = f"Exit orders that have not ended: {impact.exits}."
    if mode == HaltMode.HALTED:
        text = f"{found} Those at brokers stay there; no other is sent until the release."
        return [Consequence("unprotected", text)]
    return [Consequence("safe", f"{found} They go on as usual.")]
