"""C156–C179: the engine over an adapter, whose broker's price moves along a path.

Tests run them against each fake broker, in `tests/conformance/engine`: there a trading process
executes published signals on the stage's account, a second one judges each price too, and the first
one ends and is replaced while the entries wait.
"""

from conformance.harness import HarnessFeature, NotApplicable
from conformance.registry import CheckFunction, check
from conformance.scenario import Scenario

ONLY_IN_TESTS = "an engine and a fake broker whose price moves are in the test suite only"


_ONCE = "exactly one order of the right type, side and quantity arrives"
_THEN = f"{_ONCE} when the market is there, none before, and none after another process took over"
_ENTRIES = {
    156: ("emulated stop", f"A stop entry that the engine holds: {_THEN}."),
    157: (
        "native stop",
        f"A stop entry that the broker holds: {_ONCE}, at once; it fills when the market is there,"
        " and not before.",
    ),
    158: (
        "emulated stop-limit",
        f"A stop-limit entry that the engine holds, its limit before its stop: {_THEN}, as a limit"
        " order, which fills when the price comes back.",
    ),
    159: (
        "native stop-limit",
        f"A stop-limit entry that the broker holds: {_ONCE}, at once; it is triggered and fills.",
    ),
    160: (
        "emulated trailing stop",
        f"A trailing stop that follows the market by a price distance: {_THEN}.",
    ),
    161: (
        "native trailing stop",
        f"A trailing stop that the broker holds: {_ONCE}, at once; it fills when the market has"
        " turned by its distance, and not before.",
    ),
    162: ("emulated trailing stop in percent", f"The same by percent of the price: {_THEN}."),
    163: (
        "trailing stop with an activation price",
        "It follows from the price that activates it, which the engine judges everywhere: "
        f"{_THEN}.",
    ),
    164: ("if-touched order", f"An entry at a better price, at market: {_THEN}."),
    165: ("entry from a time on", f"An entry with `not_before`: {_ONCE}, not before that time."),
    166: (
        "entry after another order",
        f"An entry that waits until another one has filled: {_ONCE} after that, and none before.",
    ),
    167: (
        "OCO pair",
        f"Of a limit below and a stop above the market the one that is reached is sent: {_ONCE};"
        " the other one never does, also when the market reaches it later.",
    ),
}
_EXITS = {
    168: (
        "stop of a bracket at the broker",
        "The broker holds the stop and executes it: the position is closed by one exit, which is"
        " booked once.",
    ),
    169: (
        "stop of a bracket kept by us",
        "The engine sends one exit when the market reaches the stop.",
    ),
    170: (
        "target of a bracket at the broker",
        "The broker executes the target: the position is closed by one exit, and its stop ends.",
    ),
    171: (
        "target of a bracket kept by us",
        "The engine sends one exit when the market reaches the target.",
    ),
    172: (
        "break-even at the broker",
        "At its profit the stop at the broker moves to the entry price, once and never back, and"
        " closes the position there.",
    ),
    173: ("break-even kept by us", "The same where the engine keeps the stop."),
    174: (
        "trailing rule at the broker",
        "The stop at the broker follows the best price at its distance, one move for each step,"
        " stays there when the price falls, and closes the position.",
    ),
    175: ("trailing rule kept by us", "The same where the engine keeps the stop."),
    176: (
        "trailing rule within the stops level",
        "A distance smaller than the broker allows puts the stop at the least distance that it"
        " allows; no change is refused.",
    ),
}
_SLICES = {
    177: (
        "TWAP",
        "Two slices arrive, the second at its time, each once; they add up to the entry's"
        " quantity.",
    ),
    178: (
        "VWAP",
        "The same with sizes by the recorded volume of earlier days.",
    ),
    179: (
        "nothing else arrives",
        "After all of these the broker has accepted no order twice and none without a row of ours,"
        " and it holds what our positions say.",
    ),
}


def _register() -> None:
    for number, (name, description) in {**_ENTRIES, **_EXITS, **_SLICES}.items():
        check(number, name, HarnessFeature.ENGINE)(_function(description))


def _function(description: str) -> CheckFunction:
    async def function(_: Scenario) -> None:
        raise NotApplicable(ONLY_IN_TESTS)

    function.__doc__ = description
    return function


_register()
