"""Everything that the portal does can be done over the API: one line for each page.

Written by hand. A page that is in no table fails, and so does an operation that does not exist.
"""

import re

import pytest
from django.urls import resolve

from api.problems import not_found
from config.middleware.second_factor import REAUTHENTICATED_API_CALLS, REAUTHENTICATED_VIEWS
from portal import security_urls, urls, visitor_urls
from tests.api.schemas import whole_schema

CHANNEL, FEED, SUBSCRIPTION = "channels/{id}/", "feeds/{slug}/", "subscriptions/{id}/"
CANCEL_AND_CLOSE = ("POST orders/cancel-all/", "POST positions/close-all/")
DRAFT = FEED + "drafts/{draft_id}/"

SAME: dict[str, tuple[str, ...]] = {
    "portal:overview": (
        "GET connections/", "GET positions/", "GET orders/", "GET analytics/", "GET drift/",
        "GET kill-switch/",
    ),
    "portal:live": ("GET positions/",),
    "portal:scan_alarm": ("GET positions/",),  # exit_blocker and unprotected_since
    "portal:pause": ("POST kill-switch/",),
    "portal:resume": ("POST kill-switch/{id}/release/",),
    "portal:signals": ("GET signals/",),
    "portal:signal": ("GET signals/{id}/", "GET orders/", "GET execution-logs/"),
    "portal:order_cancel": ("POST orders/{id}/cancel/",),
    "portal:order_change": ("PATCH orders/{id}/",),
    "portal:working_orders": ("GET orders/",),
    "portal:working_orders_csv": ("GET exports/{table}/",),
    "portal:cancel_all": ("POST orders/cancel-all/",),
    "portal:positions": ("GET positions/",),
    "portal:positions_csv": ("GET exports/{table}/",),
    "portal:close_all": ("POST positions/close-all/",),
    "portal:end_all": CANCEL_AND_CLOSE,
    "portal:position": ("GET positions/{id}/", "GET orders/", "GET execution-logs/"),
    "portal:close": ("POST positions/{id}/close/",),
    "portal:position_close_part": ("POST positions/{id}/close/",),
    "portal:position_levels": ("PATCH positions/{id}/",),
    "portal:position_break_even": ("POST positions/{id}/break-even/",),
    "portal:position_trailing": ("PUT positions/{id}/trailing/", "DELETE positions/{id}/trailing/"),
    "portal:results": (
        "GET analytics/statistics/", "GET analytics/breakdown/", "GET analytics/months/",
        "GET analytics/equity/",
    ),
    "portal:results_execution": ("GET analytics/compared/", "GET analytics/execution/"),
    "portal:results_csv": ("GET analytics/export/{table}/",),
    "portal:results_month": ("GET analytics/statistics/", "GET analytics/breakdown/"),
    "portal:history_start": ("GET history/{table}/",),
    "portal:history": ("GET history/{table}/",),
    "portal:history_csv": ("GET history/{table}/",),
    "portal:history_json": ("GET history/{table}/",),
    "portal:accounts": ("GET connections/",),
    "portal:account_add": ("POST connections/",),
    "portal:account_paper": ("POST connections/paper/",),
    "portal:account": (
        "GET connections/{id}/", "GET trading-pauses/", "GET loss-limits/", "GET drift/",
    ),
    "portal:account_symbols": ("GET connections/{id}/instruments/",),
    "portal:account_live": ("GET connections/{id}/",),
    "portal:account_test": ("POST connections/{id}/test/",),
    "portal:account_test_state": ("GET connections/{id}/",),
    "portal:account_pause": ("POST connections/{id}/pause/",),
    "portal:account_sample": (
        "GET connections/{id}/sample-order/",
        "POST connections/{id}/sample-order/",
    ),
    "portal:account_sample_close": ("POST connections/{id}/sample-order/close/",),
    "portal:account_resume": ("POST connections/{id}/resume/",),
    "portal:account_switch_on": ("PATCH connections/{id}/",),
    "portal:account_remove": ("DELETE connections/{id}/",),
    "portal:account_end": CANCEL_AND_CLOSE,
    "portal:account_compare": ("POST drift/compare/",),
    "portal:account_own_prices": ("PATCH connections/{id}/",),
    "portal:account_fallback": ("PATCH data-connections/{id}/",),
    "portal:account_edit": ("PATCH connections/{id}/",),
    "portal:credentials": ("PUT connections/{id}/credentials/",),
    "portal:account_cash_flow": ("POST cash-flows/",),
    "portal:account_loss_limit": ("POST loss-limits/",),
    "portal:preset_loss_limit": ("POST loss-limits/",),
    "portal:presets": ("GET presets/",),
    "portal:preset_new": ("POST presets/",),
    "portal:preset_example": ("GET presets/{id}/example/",),
    "portal:preset_edit": ("GET presets/{id}/uses/", "PATCH presets/{id}/"),
    "portal:preset_assign": ("PATCH connections/{id}/",),
    "portal:preset_remove": ("DELETE presets/{id}/",),
    "portal:loss_limit_edit": ("PATCH loss-limits/{id}/",),
    "portal:loss_limit_remove": ("DELETE loss-limits/{id}/",),
    "portal:entries_resume": ("POST trading-pauses/{id}/resume/",),
    "portal:difference": ("GET drift/{id}/",),
    "portal:difference_adopt": ("POST drift/{id}/adopt/",),
    "portal:difference_relink": ("POST drift/{id}/relink/",),
    "portal:difference_close": ("POST drift/{id}/close/",),
    "portal:difference_ignore": ("POST drift/{id}/ignore/",),
    "portal:feeds": ("GET feeds/", "GET subscriptions/"),
    "portal:alerts": (f"GET {FEED}tokens/", f"POST {FEED}alerts/read/"),
    "portal:alert_mapping": (f"GET {FEED}alert-mapping/", f"PATCH {FEED}alert-mapping/"),
    "portal:alert_address_new": (f"POST {FEED}tokens/",),
    "portal:alert_address_replace": (f"POST {FEED}tokens/{{token_id}}/rotate/",),
    "portal:alert_address_revoke": (f"POST {FEED}tokens/{{token_id}}/revoke/",),
    "portal:telegram": (f"GET {FEED}telegram-bot/",),
    "portal:telegram_token": (f"POST {FEED}telegram-bot/",),
    "portal:telegram_pause": (f"PATCH {FEED}telegram-bot/",),
    "portal:telegram_resume": (f"PATCH {FEED}telegram-bot/",),
    "portal:telegram_remove": (f"POST {FEED}telegram-bot/remove/",),
    "portal:telegram_forwarding": (f"PATCH {FEED}telegram-bot/",),
    "portal:telegram_chat": (f"PATCH {FEED}telegram-bot/chats/{{chat_id}}/",),
    "portal:telegram_chat_end": (f"PATCH {FEED}telegram-bot/chats/{{chat_id}}/",),
    "portal:feed_record": (f"GET {FEED}record/", f"GET {FEED}record/trades/"),
    "portal:feed_proof": (f"GET {FEED}record/links/", f"GET {FEED}record/head/"),
    "portal:feed_record_show": (f"PATCH {FEED}",),
    "portal:public_record": (f"GET {FEED}record/", f"GET {FEED}record/trades/"),
    "portal:public_proof": (f"GET {FEED}record/links/", f"GET {FEED}record/head/"),
    "portal:feed_end": CANCEL_AND_CLOSE,
    "portal:scoped_action": ("GET orders/",),  # the ids that the act has answered with
    "portal:feed_alert_log": (f"GET {FEED}alerts/",),
    "portal:preflight": ("POST preflights/", "GET preflights/{id}/"),
    "portal:preflight_csv": ("GET preflights/{id}/",),
    "portal:subscribe": ("POST subscriptions/",),
    "portal:feed_terms": (f"GET {FEED}terms/",),
    "portal:publishing": ("GET feeds/",),
    "portal:publishing_new": ("POST feeds/",),
    "portal:publishing_feed": (f"GET {FEED}", f"GET {FEED}approval-requests/"),
    "portal:publishing_followers": (f"GET {FEED}followers/",),
    "portal:publishing_approval": (f"POST {FEED}request-approval/",),
    "portal:publishing_withdraw": (f"POST {FEED}withdraw-request/",),
    "portal:publishing_archive": (f"POST {FEED}archive/",),
    "portal:publishing_settings": (f"PATCH {FEED}",),
    "portal:publishing_terms": (f"POST {FEED}terms/",),
    "portal:publishing_signals": ("GET signals/", "GET signals/{id}/results/"),
    "portal:publishing_choose": (f"POST {FEED}drafts/",),
    "portal:publishing_open": (f"POST {FEED}drafts/", "POST signals/"),
    "portal:publishing_modify": (f"POST {FEED}drafts/", "POST signals/"),
    "portal:publishing_close": (f"POST {FEED}drafts/", "POST signals/"),
    "portal:publishing_signal": ("GET signals/{id}/", "GET signals/{id}/results/"),
    "portal:publishing_signal_publish": (
        "GET signals/{id}/preview/", "POST signals/{id}/publish/",
    ),
    "portal:publishing_signal_cancel": ("POST signals/{id}/cancel/",),
    "portal:publishing_drafts": (f"GET {FEED}drafts/",),
    "portal:publishing_draft": (f"GET {DRAFT}", f"PATCH {DRAFT}"),
    "portal:publishing_draft_publish": ("POST signals/preview/", f"POST {DRAFT}publish/"),
    "portal:publishing_draft_discard": (f"POST {DRAFT}discard/",),
    "portal:subscription_edit": (f"PATCH {SUBSCRIPTION}",),
    "portal:subscription_limits": (f"PATCH {SUBSCRIPTION}",),
    "portal:subscription_route": (f"GET {SUBSCRIPTION}route/", f"PATCH {SUBSCRIPTION}"),
    "portal:subscription_pause": (f"POST {SUBSCRIPTION}pause/",),
    "portal:subscription_resume": (f"POST {SUBSCRIPTION}resume/",),
    "portal:subscription_end": (f"DELETE {SUBSCRIPTION}",),
    "portal:subscription_twin": (f"GET {SUBSCRIPTION}comparison/",),
    "portal:subscription_twin_start": (f"POST {SUBSCRIPTION}twin/",),
    "portal:subscription_twin_stop": (f"POST {SUBSCRIPTION}stop-twin/",),
    "portal:subscription_twin_csv": (f"GET {SUBSCRIPTION}comparison/",),
    "portal:inbox": ("GET notifications/",),
    "portal:inbox_read": ("POST notifications/read/",),
    "portal:notification_read": ("POST notifications/read/",),
    "security:profile": ("GET me/", "PATCH me/"),
    "security:trail": ("GET trail/",),
    "security:trail_csv": ("GET trail/",),
    "security:trail_json": ("GET trail/",),
    "security:keys": ("GET api-keys/",),
    "security:key_create": ("POST api-keys/",),
    "security:key_revoke": ("POST api-keys/{id}/revoke/",),
    "security:push_renew": ("POST channels/browsers/",),
    "security:channels": ("GET channels/",),
    "security:channel_create": ("POST channels/",),
    "security:channel_new": ("POST channels/", "POST channels/webhooks/"),
    "security:channel_kinds": (f"PATCH {CHANNEL}",),
    "security:channel": (f"GET {CHANNEL}", f"GET {CHANNEL}messages/"),
    "security:channel_rules": (f"PATCH {CHANNEL}",),
    "security:channel_secret": (f"POST {CHANNEL}rotate-secret/",),
    "security:message_resend": (f"POST {CHANNEL}messages/{{message}}/resend/",),
    "security:channel_test": (f"POST {CHANNEL}test/",),
    "security:channel_resend": (f"POST {CHANNEL}resend/",),
    "security:channel_remove": (f"DELETE {CHANNEL}",),
    "security:channel_confirm": (f"POST {CHANNEL}confirm/",),
}  # fmt: skip
_PERSON = "a person at a browser: it asks for the password or the second factor"
_VISITOR = "who comes here has no login yet, and a link from a mail"
PERSON: dict[str, str] = {
    "portal:sign_in": "a program has a key",
    "portal:sign_out": "a program revokes its key",
    "portal:first_steps": "names the next step to a person; each step has its operation",
    "portal:results_definitions": "a text, docs/analytics.md; the schema has it field by field",
    "portal:reason": "a text; each reason in an answer has sentence, hint and its address",
    "security:code": _PERSON,
    "security:first": _PERSON,
    "security:overview": _PERSON,
    "security:confirm": _PERSON,
    "security:enrol": _PERSON,
    "security:recovery_codes": _PERSON,
    "security:turn_off": _PERSON,
    "security:delete_login": _PERSON,
    "security:email": _PERSON,
    "security:email_resend": _PERSON,
    "security:sessions": "browsers' sessions; a program has none",
    "security:sessions_end": "browsers' sessions; a program has none",
    "security:session_end": "browsers' sessions; a program has none",
    "security:password": _PERSON,
    "security:data": "all of a person's data at once: not with a key that may leak",
    "security:data_download": "all of a person's data at once: not with a key that may leak",
    "security:push_worker": "a script that a browser runs",
    "visitor:sign_up": _VISITOR,
    "visitor:sign_up_finish": _VISITOR,
    "visitor:invitation": _VISITOR,
    "visitor:forgot_password": _VISITOR,
    "visitor:reset_password": _VISITOR,
    "visitor:confirm_address": _VISITOR,
}
"""Pages that have no operation, each with the reason."""


def test_each_page_is_in_one_table() -> None:
    pages = {
        f"{one.app_name}:{pattern.name}"
        for one in (urls, security_urls, visitor_urls)
        for pattern in one.urlpatterns
    }
    assert pages == set(SAME) | set(PERSON)
    assert not set(SAME) & set(PERSON)


@pytest.fixture(scope="module")
def operations() -> set[str]:
    paths = whole_schema()["paths"]
    return {
        f"{method.upper()} {path.removeprefix('/api/v1/')}"
        for path, methods in paths.items()
        for method in methods
    }


BY_FIELD = {f"PATCH {FEED}telegram-bot/": "its field forward_from asks (test_second_factor.py)"}
"""Operations of which only some need a fresh second factor."""
WITHOUT: dict[str, str] = {
    "portal:telegram_chat_end": "it only ends what counts",
    "security:channel_create": "a choice; the page behind it asks",
    "security:push_renew": "the same browser's new address",
}
"""Pages that need no fresh second factor although an operation does that does more."""


def view_of(path: str) -> str:
    """Return the name of an operation's view."""
    for value in ("1", "a", "00000000-0000-0000-0000-000000000000"):
        found = resolve("/api/v1/" + re.sub(r"\{\w+\}", value, path))
        if found.func is not not_found:
            return found.view_name
    raise AssertionError(f"{path} needs other arguments.")


def test_fresh_second_factor_is_needed_here_and_there() -> None:
    wanting = {
        (page, operation): (view_of(operation.split()[1]), operation.split()[0])
        for page, operations in SAME.items()
        for operation in operations
        if not operation.startswith("GET ")
    }
    looser = {
        f"{page}: {operation}"
        for (page, operation), call in wanting.items()
        if page in REAUTHENTICATED_VIEWS
        and call not in REAUTHENTICATED_API_CALLS
        and operation not in BY_FIELD
    }
    assert not looser
    pages = {page for (page, _), call in wanting.items() if call in REAUTHENTICATED_API_CALLS}
    assert pages - REAUTHENTICATED_VIEWS == set(WITHOUT)


def test_each_operation_of_the_table_exists(operations: set[str]) -> None:
    named = {operation for several in SAME.values() for operation in several}
    assert named <= operations, named - operations
