"""Every page of the portal that links lead to: axe-core's rules, nothing that scrolls sideways."""

import pytest
from django.urls import resolve

from tests.browser.one_of_each import sign_in_with_one_of_each
from tests.browser.visits import DESKTOP, PHONE, Device, Visit, check_all
from tests.portal.role_matrix import PAGES, SIGNING_IN

DEVICES = pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=lambda device: device.name)
# Pages of the role matrix that no link leads to, and why.
NO_PAGES = {  # parts of pages, forms without a page of their own, files
    "portal:live", "portal:scan_alarm", "portal:account_live", "portal:account_test_state",
    "portal:preset_example", "portal:account_test", "portal:account_pause",
    "portal:account_resume", "portal:account_switch_on", "portal:account_compare",
    "portal:account_own_prices", "portal:subscription_pause", "portal:subscription_resume",
    "portal:inbox_read", "portal:notification_read", "portal:sign_out",
    "portal:publishing_withdraw", "portal:feed_record_show", "portal:telegram_pause",
    "portal:telegram_resume", "portal:telegram_forwarding", "portal:telegram_chat",
    "portal:telegram_chat_end", "portal:telegram_token", "portal:telegram_remove",
    "portal:results_csv", "portal:history_csv", "portal:history_json", "portal:history_start",
    "security:trail_csv", "security:trail_json", "security:data_download",
    "security:recovery_codes", "security:turn_off", "security:session_end",
    "security:email_resend", "security:channel_test", "security:channel_resend",
    "security:message_resend", "security:channel_secret", "security:channel_confirm",
    "security:channel_rules", "security:push_renew", "security:push_worker",
    "portal:subscription_twin_start", "portal:subscription_twin_stop",
    "portal:subscription_twin_csv", "portal:positions_csv", "portal:working_orders_csv",
}  # fmt: skip
OTHER_TESTS = {  # need a state that the tests of the items make
    "portal:sign_in", "portal:resume", "portal:public_record", "portal:public_proof",
    "portal:publishing_signal_publish", "portal:publishing_approval", "portal:feed_terms",
    "portal:scoped_action", "portal:entries_resume", "portal:difference",
    "portal:difference_adopt", "portal:difference_relink", "portal:difference_close",
    "portal:difference_ignore", "portal:subscribe", "portal:position",
    "portal:position_close_part", "portal:position_levels", "portal:position_break_even",
    "portal:position_trailing", "portal:close", "portal:close_all", "portal:preset_remove",
    "portal:cancel_all", "portal:order_cancel", "portal:order_change", "portal:first_steps",
    "portal:publishing_draft", "portal:publishing_draft_discard", "portal:publishing_draft_publish",
    "portal:publishing_signal", "portal:publishing_signal_cancel",
    "security:confirm", "security:code", "security:first",
    *(name for name in PAGES if name.startswith("door:")),
}  # fmt: skip

# A walk opens one page of each kind; the first account that it finds has no loss limit.
NOT_LOOKED_AT = {"portal:loss_limit_edit", "portal:loss_limit_remove"}


@DEVICES
def test_portal_pages_are_in_order(visit: Visit, device: Device) -> None:
    page = sign_in_with_one_of_each(visit)
    page.goto("/feeds/")
    route = page.get_by_role("link", name="Route").first.get_attribute("href") or ""
    twin = route.replace("/route/", "/twin/")  # all accounts of the demo are paper: no link there
    seen = {str(resolve(path).view_name) for path in check_all(visit, "/", twin)}
    missing = set(PAGES) - seen - NO_PAGES - OTHER_TESTS - NOT_LOOKED_AT
    assert not missing, f"no link leads to {sorted(missing)}"
    assert SIGNING_IN in PAGES.values()


@DEVICES
@pytest.mark.parametrize(
    "path",
    [
        "/login/", "/admin/login/", "/reasons/NO_MONEY/", "/sign-up/", "/no-such-page/",
        "/api/v1/docs/", "/api/v1/docs/orders/",
    ],
)  # fmt: skip
def test_pages_for_visitors_are_in_order(visit: Visit, device: Device, path: str) -> None:
    visit.page.goto(path)
    assert visit.problems() == []
