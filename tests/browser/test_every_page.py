"""Every page of the portal that links lead to: axe-core's rules, nothing that scrolls sideways."""

import pytest

from tests.browser.devices import EACH_DEVICE
from tests.browser.looked_at import LOOKED_AT, declared_on, looks_at
from tests.browser.one_of_each import sign_in_with_one_of_each
from tests.browser.visits import Device, Visit, check_all
from tests.portal.no_pages import NO_PAGES
from tests.portal.role_matrix import PAGES


@EACH_DEVICE
def test_portal_pages_are_in_order(visit: Visit, device: Device) -> None:
    """Each page of the role matrix is in order: those that links lead to, and others elsewhere."""
    page = sign_in_with_one_of_each(visit)
    page.goto("/feeds/")
    check_all(visit, "/")
    seen = set(LOOKED_AT)
    assert not seen & NO_PAGES, "these are pages"
    elsewhere = declared_on(device.screen)
    missing = set(PAGES) - seen - elsewhere - NO_PAGES
    assert not missing, f"no link leads to {sorted(missing)}, and no test looks at them"
    assert not elsewhere - set(PAGES), "there are no such pages"


@EACH_DEVICE
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/login/", marks=looks_at("portal:sign_in")),
        pytest.param("/sign-up/", marks=looks_at("visitor:sign_up")),
        "/admin/login/", "/reasons/NO_MONEY/", "/no-such-page/",
        "/api/v1/docs/",
    ],
)  # fmt: skip
def test_pages_for_visitors_are_in_order(visit: Visit, device: Device, path: str) -> None:
    visit.page.goto(path)
    assert visit.problems() == []
