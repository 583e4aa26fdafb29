"""Authentication by API key. Browsers with a session use DRF's own, with a CSRF token."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from common.db.audit_trail import add_request_fact
from users.models import User
from users.services import user_for_key
from users.tenancy import act_as


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <API key>`. Sets the transaction's user to the owner of the key."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Return the key's user; None without such a header. Raises AuthenticationFailed."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != self.keyword.lower():
            return None
        user = user_for_key(secret.strip())
        if user is None:
            raise AuthenticationFailed("The API key is unknown, expired or revoked.")
        add_request_fact("key", user.key_id)  # the audit trail records it with each change
        act_as(user)
        request._request.api_key_user = user  # type: ignore[attr-defined]  # for TenantMiddleware
        return user, None

    def authenticate_header(self, request: Request) -> str:
        """Return the WWW-Authenticate header, which makes a missing key a 401 instead of a 403."""
        return self.keyword
