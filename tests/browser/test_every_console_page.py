"""Every page of the console that links lead to: axe-core's rules, nothing that scrolls sideways."""

import pytest

from tests.browser.visits import DESKTOP, OPERATOR, PHONE, Device, Visit, check_all

FEWEST = 100  # a walk that ends early would find nothing
pytestmark = pytest.mark.slow  # so it begins first


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=lambda device: device.name)
def test_console_pages_are_in_order(visit: Visit, device: Device) -> None:
    visit.arrive(OPERATOR)
    assert len(check_all(visit, "/admin/")) >= FEWEST
