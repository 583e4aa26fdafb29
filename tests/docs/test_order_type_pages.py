"""The tables of the order types' page state what signals may contain."""

import re

import pytest

from signals.models import OrderType, TimeInForce
from signals.reading.validation import time_in_force_error
from tests.docs.test_broker_type_pages import table

PAGE = "docs/order-types.md"


@pytest.mark.parametrize("value", TimeInForce.values)
def test_page_states_which_types_have_a_time_in_force(value: str) -> None:
    (row,) = (row for row in table(PAGE, "value") if row[0] == f"`{value}`")
    allowed = row[-1].rstrip(" |")
    named = set(re.findall(r"`([A-Z_]+)`", allowed))
    assert allowed.startswith("all but" if named else "all types")
    refused = {name for name in OrderType.values if time_in_force_error(name, value)}
    assert named == refused
