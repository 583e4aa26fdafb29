"""Which positions are too small to be sold, and are closed in the books."""

from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection, Instrument
from execution.calls.runtime import Runtime
from execution.services import close_dust
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("left", "closed"), [("100", 0), ("20", 0), ("19.9", 1), ("4", 1)], ids=str
)
def test_a_raised_minimum_closes_only_what_is_left_below_two_steps(
    alice: ExecutionConnection, feed: Feed, wire: Runtime, left: str, closed: int
) -> None:
    cast.filled(cast.signal(feed))  # 100 in steps of 10
    ExecutionPosition.objects.update(quantity=D(left))
    Instrument.objects.update(close_min=D(1000))
    assert close_dust() == closed
    held = ExecutionPosition.objects.get()
    assert (held.quantity, held.close_reason) == ((0, "dust") if closed else (D(left), ""))
