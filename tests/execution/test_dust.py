"""Which positions are too small to be sold, and are closed in the books."""

from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection, Instrument
from execution.calls.runtime import Runtime
from execution.services import close_dust, close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("sold", "left", "closed"), [("0", 100, 0), ("0.8", 20, 0), ("0.9", 0, 1)], ids=str
)
def test_a_raised_minimum_closes_only_what_is_left_below_two_steps(
    alice: ExecutionConnection, feed: Feed, wire: Runtime, sold: str, left: int, closed: int
) -> None:
    position = cast.filled(cast.signal(feed))  # 100 in steps of 10
    if sold != "0":
        close_position(position.pk, fraction=D(sold))
        cast.fill_all()
    Instrument.objects.update(close_min=D(1000))
    assert close_dust() == closed
    held = ExecutionPosition.objects.get()
    assert (held.quantity, held.close_reason) == (left, "dust" if closed else "")
