"""Who gets which page of the portal: one line a page, by the name of its address.

Written by hand; a page that is missing fails tests/portal/test_roles.py, and docs/role-matrix.md is
written from it.
"""

OPEN = "open"  # also who is signed out
TENANT = "tenant"  # one's own rows; staff with a role are led to the console, which has everybody's
OWN = "own"  # about oneself, tenants and staff alike
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
    "portal:positions": TENANT,
    "portal:close": TENANT,
    "portal:accounts": TENANT,
    "portal:account_add": TENANT,
    "portal:account": TENANT,
    "portal:account_live": TENANT,
    "portal:account_test": TENANT,
    "portal:account_pause": TENANT,
    "portal:account_resume": TENANT,
    "portal:account_switch_on": TENANT,
    "portal:account_remove": TENANT,
    "portal:account_compare": TENANT,
    "portal:account_own_prices": TENANT,
    "portal:account_edit": TENANT,
    "portal:credentials": TENANT,
    "portal:difference": TENANT,
    "portal:difference_adopt": TENANT,
    "portal:difference_relink": TENANT,
    "portal:difference_close": TENANT,
    "portal:difference_ignore": TENANT,
    "portal:feeds": TENANT,
    "portal:subscribe": TENANT,
    "portal:subscription_edit": TENANT,
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
# By page: signed out, tenant, staff with a role, staff without one. –: leads to signing in.
CELLS: dict[str, tuple[str, str, str, str]] = {
    OPEN: (YES, YES, YES, YES),
    TENANT: ("–", OWN, CONSOLE, OWN),
    OWN: ("–", OWN, OWN, OWN),
    SIGNING_IN: (SIGNING_IN, "–", "–", "–"),
}
