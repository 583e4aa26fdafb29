"""Every page that links lead to: axe-core's rules, no sideways scrolling, no refused script."""

import pytest

from tests.browser.visits import DARK, DESKTOP, DEVICES, OPERATOR, PHONE, Device, Visit, walk

FEWEST = {"/": 30, "/admin/": 100}  # a walk that ends early would find nothing


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_portal_pages_are_in_order(visit: Visit, device: Device) -> None:
    visit.sign_in()
    _check_all(visit, "/")


@pytest.mark.parametrize("device", [DESKTOP, DARK, PHONE], ids=lambda device: device.name)
def test_console_pages_are_in_order(visit: Visit, device: Device) -> None:
    visit.sign_in(OPERATOR)
    _check_all(visit, "/admin/")


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
@pytest.mark.parametrize("path", ["/login/", "/admin/login/", "/reasons/NO_MONEY/"])
def test_pages_for_visitors_are_in_order(visit: Visit, device: Device, path: str) -> None:
    assert visit.open(path)
    assert visit.problems() == []


def _check_all(visit: Visit, start: str) -> None:
    problems: list[str] = []
    pages = 0
    for path in walk(visit, [start]):
        pages += 1
        problems += [f"{path} {problem}" for problem in visit.problems()]
    assert pages >= FEWEST[start], pages
    assert not problems, "\n".join(problems)
