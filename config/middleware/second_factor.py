"""The second factor at every door: who did not show theirs is nobody; some things ask for it again.

API keys are not asked: they are made with a second factor, and limited by their scopes.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from api.problems import CONTENT_TYPE, problem
from common.reason_codes import Code
from users.session_factor import has_second_factor, is_fresh

# By the address's name: whatever replaces credentials, makes keys or tokens, changes rights or
# releases a kill switch ("Pause everything" of the portal is one; a paused account or subscription
# is none). A channel sends what happens on an account elsewhere; removing one silences
# alarms, such as that of a changed password. Testing one tells nothing to who reads the page.
REAUTHENTICATED_VIEWS = frozenset(
    {
        "portal:credentials", "portal:resume",
        "security:enrol", "security:recovery_codes", "security:turn_off",
        "security:key_create", "security:password",
        "security:channel_create", "security:channel_remove",
        "admin:users_apikey_create", "admin:signals_feed_token",
        "admin:connections_executionconnection_credentials",
        "admin:connections_killswitch_release", "admin:connections_epoch_release",
        "admin:users_user_add", "admin:users_user_change", "admin:auth_user_password_change",
        "admin:users_user_reset_second_factor", "admin:password_change",
        "admin:auth_group_add", "admin:auth_group_change", "admin:auth_group_delete",
    }
)  # fmt: skip
# Of the API those methods; a browser's session asks, an API key does not. Where only a body with
# credentials asks, its field does (connections/api/serializers.py Secrets).
REAUTHENTICATED_API_CALLS = frozenset(
    {
        ("api-key-list", "POST"), ("connection-credentials", "PUT"),
        ("kill-switch-release", "POST"), ("feed-tokens", "POST"),
        ("channel-list", "POST"), ("channel-detail", "DELETE"),
    }
)  # fmt: skip


class SecondFactorMiddleware:
    """Stands before TenantMiddleware, so that who is nobody reaches no rows."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        user: Any = request.user
        if user.is_authenticated and not has_second_factor(request, user):
            logout(request)  # it was enrolled, replaced or reset since this session began
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        """Ask again where it matters, if it was shown too long ago."""
        user: Any = request.user
        match = request.resolver_match
        if match is None or not user.is_authenticated or is_fresh(request, user):
            return None
        if (match.view_name, request.method) in REAUTHENTICATED_API_CALLS:
            if request.headers.get("Authorization", "").lower().startswith("bearer "):
                return None  # then nothing but the key counts (api/authentication.py)
            body = problem(Code.SECOND_FACTOR_NEEDED, 403)
            return JsonResponse(body, status=403, content_type=CONTENT_TYPE)
        if match.view_name not in REAUTHENTICATED_VIEWS:
            return None
        back = {"next": request.get_full_path()}
        return HttpResponseRedirect(f"{reverse('security:confirm')}?{urlencode(back)}")
