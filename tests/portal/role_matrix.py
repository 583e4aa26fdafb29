"""Which users get which page of the portal: one line for each page, by the name of its URL.

Written by hand. tests/portal/test_roles.py fails if a page is missing, and docs/role-matrix.md is
generated from it.
"""

OPEN = "open"  # also for visitors who are not signed in
TENANT = "tenant"  # one's own rows; staff with a role are redirected to the console
OWN = "own"  # about the caller, tenants and staff alike
SIGNING_IN = "signing in"  # between the password and the second factor, and at no other time

PAGES: dict[str, str] = {
    "portal:sign_in": OPEN,
    "portal:sign_out": OPEN,
    "portal:reason": OPEN,
    "portal:overview": TENANT,
    "portal:live": TENANT,
    "portal:scan_alarm": TENANT,
    "portal:pause": TENANT,
    "portal:resume": TENANT,
    "portal:signals": TENANT,
    "portal:signal": TENANT,
    "portal:order_cancel": TENANT,
    "portal:order_change": TENANT,
    "portal:positions": TENANT,
    "portal:close_all": TENANT,
    "portal:end_all": TENANT,
    "portal:account_end": TENANT,
    "portal:feed_end": TENANT,
    "portal:scoped_action": TENANT,
    "portal:close": TENANT,
    "portal:accounts": TENANT,
    "portal:account_add": TENANT,
    "portal:account": TENANT,
    "portal:account_symbols": TENANT,
    "portal:account_live": TENANT,
    "portal:account_test": TENANT,
    "portal:account_pause": TENANT,
    "portal:account_resume": TENANT,
    "portal:account_switch_on": TENANT,
    "portal:account_remove": TENANT,
    "portal:account_compare": TENANT,
    "portal:account_own_prices": TENANT,
    "portal:account_edit": TENANT,
    "portal:account_cash_flow": TENANT,
    "portal:account_loss_limit": TENANT,
    "portal:loss_limit_edit": TENANT,
    "portal:loss_limit_remove": TENANT,
    "portal:entries_resume": TENANT,
    "portal:credentials": TENANT,
    "portal:difference": TENANT,
    "portal:difference_adopt": TENANT,
    "portal:difference_relink": TENANT,
    "portal:difference_close": TENANT,
    "portal:difference_ignore": TENANT,
    "portal:feeds": TENANT,
    "portal:subscribe": TENANT,
    "portal:subscription_edit": TENANT,
    "portal:subscription_limits": TENANT,
    "portal:subscription_route": TENANT,
    "portal:subscription_pause": TENANT,
    "portal:subscription_resume": TENANT,
    "portal:subscription_end": TENANT,
    "portal:inbox": TENANT,
    "portal:inbox_read": TENANT,
    "portal:notification_read": TENANT,
    "security:code": SIGNING_IN,
    "security:first": SIGNING_IN,
    "security:overview": OWN,
    "security:confirm": OWN,
    "security:enrol": OWN,
    "security:recovery_codes": OWN,
    "security:turn_off": OWN,
    "security:password": OWN,
    "security:keys": OWN,
    "security:key_create": OWN,
    "security:key_revoke": OWN,
    "security:channels": OWN,
    "security:channel_create": OWN,
    "security:channel_test": OWN,
    "security:channel_resend": OWN,
    "security:channel_remove": OWN,
    "security:channel_confirm": OPEN,
}

CONSOLE, YES = "console", "yes"
# By page: signed out, tenant, staff with a role, staff without one. –: redirects to sign-in.
CELLS: dict[str, tuple[str, str, str, str]] = {
    OPEN: (YES, YES, YES, YES),
    TENANT: ("–", OWN, CONSOLE, OWN),
    OWN: ("–", OWN, OWN, OWN),
    SIGNING_IN: (SIGNING_IN, "–", "–", "–"),
}
