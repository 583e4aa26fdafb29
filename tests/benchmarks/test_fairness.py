"""How the waits of accounts are compared: by their means over all signals."""

import random

from benchmarks import fairness

ACCOUNTS, SIGNALS = 200, 50


def waits(*, rotates: bool) -> list[list[float]]:
    """Each signal's orders end 1 ms apart, in the same order or in one that begins elsewhere."""
    places = range(1, ACCOUNTS + 1)
    return [
        [float((place + rotates * signal * 124) % ACCOUNTS + 100) for place in places]
        for signal in range(SIGNALS)
    ]


def test_fixed_order_is_unfair_and_rotated_order_is_not() -> None:
    fixed, rotated = fairness._figures(waits(rotates=False)), fairness._figures(waits(rotates=True))
    assert fixed["ratio"] == fixed["fixed_order_ratio"] > 1.45
    assert rotated["ratio"] < 1.1
    assert rotated["fixed_order_ratio"] == fixed["ratio"], "the same waits, if they did not rotate"


def test_result_is_the_less_fair_of_both_ways() -> None:
    mixed = waits(rotates=True)
    random.Random(1).shuffle(mixed)
    result = fairness._result(
        ACCOUNTS, {fairness.QUEUED: mixed, fairness.IN_TURN: waits(rotates=False)}
    )
    assert result.ratio == result.detail["ways"][fairness.IN_TURN]["ratio"]
    assert not result.more_is_better
    assert result.ok is (result.ratio <= fairness.TARGET)
