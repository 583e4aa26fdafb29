"""Require the second factor on every page; some actions require it again.

A session that did not confirm its second factor is signed out. API keys are exempt: a user creates
them with the second factor, and their scopes limit them.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from api.problems import CONTENT_TYPE, problem
from common.reason_codes import Code
from portal import kept_forms
from users.sign_in.session_factor import SecondFactorNeededError, has_second_factor, is_fresh

RESTORED = (
    "Nothing was saved yet. What you typed is below, passwords and keys excepted: check it, then "
    "save it again."
)
# View names. Every view that replaces credentials, creates keys or tokens, changes rights or
# releases a kill switch ("Pause everything" in the portal is one; a paused account or subscription
# is not). A channel sends an account's events elsewhere; removing one silences alarms, such as the
# one for a changed password. Testing a channel shows nothing on the page, so it is not listed.
# They ask before anything is typed. Where only some values of a form require it, the service checks
# (`users.sign_in.session_factor.require_fresh_factor`), as it does for credentials from any page.
REAUTHENTICATED_VIEWS = frozenset(
    {
        "portal:credentials", "portal:resume", "portal:telegram_token", "portal:telegram_chat",
        "portal:telegram_forwarding", "portal:alert_address_new", "portal:alert_address_replace",
        "security:enrol", "security:recovery_codes", "security:turn_off",
        "security:key_create", "security:password", "security:email", "security:delete_login",
        "security:data_download",
        "security:channel_new", "security:channel_remove", "security:channel_secret",
        "security:channel_kinds", "security:channel_rules",
        "admin:users_apikey_create", "admin:signals_feed_token", "admin:users_invitation_create",
        "admin:signals_feedtoken_rotate",
        "admin:connections_executionconnection_credentials",
        "admin:connections_decisionprovider_add", "admin:connections_decisionprovider_change",
        "admin:connections_killswitch_release", "admin:connections_epoch_release",
        "admin:users_user_add", "admin:users_user_change", "admin:auth_user_password_change",
        "admin:users_user_reset_second_factor", "admin:password_change",
        "admin:auth_group_add", "admin:auth_group_change", "admin:auth_group_delete",
    }
)  # fmt: skip
# View names and methods of the API, for requests with a browser's session; API keys are exempt. If
# only some values of a body require it, the field (users/api_fields.py,
# alerts/telegram/serializers.py _Origins) or the service checks.
REAUTHENTICATED_API_CALLS = frozenset(
    {
        ("api-key-list", "POST"), ("connection-credentials", "PUT"),
        ("kill-switch-release", "POST"), ("feed-tokens", "POST"),
        ("feed-telegram-bot", "POST"), ("feed-telegram-chat", "PATCH"),
        ("feed-rotate-token", "POST"),
        ("channel-list", "POST"), ("channel-detail", "DELETE"), ("channel-detail", "PATCH"),
        ("channel-webhooks", "POST"), ("channel-browsers", "POST"),
        ("channel-rotate-secret", "POST"),
    }
)  # fmt: skip


class SecondFactorMiddleware:
    """Must come before TenantMiddleware, so that a session without the factor reads no rows."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user: Any = request.user
        if user.is_authenticated and not has_second_factor(request, user):
            logout(request)  # the factor was enrolled, replaced or reset since sign-in
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        """Require the second factor again for listed views if it was confirmed too long ago."""
        user: Any = request.user
        match = request.resolver_match
        if match is None or not user.is_authenticated or is_fresh(request, user):
            return None
        user.has_stale_factor = True  # for services; a key's user is another object
        if (match.view_name, request.method) in REAUTHENTICATED_API_CALLS:
            if request.headers.get("Authorization", "").lower().startswith("bearer "):
                return None  # then the key alone authenticates (api/authentication.py)
            body = problem(Code.SECOND_FACTOR_NEEDED, 403)
            return JsonResponse(body, status=403, content_type=CONTENT_TYPE)
        if match.view_name not in REAUTHENTICATED_VIEWS:
            return None
        return _ask(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Ask for the factor that a page's action needs, and keep what was typed meanwhile."""
        if not isinstance(error, SecondFactorNeededError):
            return None
        if transaction.get_connection().in_atomic_block:
            transaction.set_rollback(True)
        return _ask(request)

    def process_template_response(
        self, request: HttpRequest, response: TemplateResponse
    ) -> TemplateResponse:
        """Show what was typed on a page of the console; the portal's pages restore their own."""
        match = request.resolver_match
        is_console = match is not None and match.namespace == "admin"
        if is_console and kept_forms.restore(request, response.context_data or {}):
            messages.info(request, RESTORED)
        return response


def _ask(request: HttpRequest) -> HttpResponse:
    """Send the browser to the page that asks for the factor, and from there back.

    What was typed is kept for the page, secrets excepted; if it cannot be, a message states so.
    """
    if request.method == "POST" and not kept_forms.keep(request, kept_forms.Why.STALE_FACTOR):
        messages.error(request, f"Nothing was done. {kept_forms.loss_of(request)}".rstrip())
    back = {"next": request.get_full_path()}
    return HttpResponseRedirect(f"{reverse('security:confirm')}?{urlencode(back)}")
