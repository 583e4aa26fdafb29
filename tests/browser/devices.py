"""The devices on which tests run. Each page is checked in light and in dark colours on each."""

import pytest

from tests.browser.visits import DARK_PHONE, DESKTOP, PHONE


def _on(*devices: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("device", devices, ids=lambda device: device.name)


EACH_DEVICE = _on(DESKTOP, PHONE)
ITEM_DEVICES = _on(DESKTOP, DARK_PHONE)  # so each step is done in dark colours, too
