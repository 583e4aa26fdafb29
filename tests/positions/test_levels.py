from decimal import Decimal as D

import pytest

from positions.levels import target_fraction


@pytest.mark.parametrize(
    ("fractions", "number", "share"),
    [
        (["0.5", "0.3", "0.2"], 1, "0.5"),
        (["0.5", "0.3", "0.2"], 2, "0.3"),
        (["0.5", "0.3", "0.2"], 3, None),  # the last of a whole takes what flooring left over
        (["0.5", "0.3"], 2, "0.3"),  # a rest is meant to run on
        (["1"], 1, None),
        (["0.5"], 2, None),  # a level that was moved after the last target
        ([], 1, None),
    ],
)
def test_target_quantity_is_its_share(fractions: list[str], number: int, share: str | None) -> None:
    assert target_fraction([D(f) for f in fractions], number) == (D(share) if share else None)
