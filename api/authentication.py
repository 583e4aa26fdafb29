"""Who is calling: an API key, or a logged-in browser (which then needs the CSRF token)."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from users.models import User
from users.services import user_for_key
from users.tenancy import act_as


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <API key>`. From here on the transaction works for the key's user."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Return the key's user; None without such a header. Raises AuthenticationFailed."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != self.keyword.lower():
            return None
        user = user_for_key(secret.strip())
        if user is None:
            raise AuthenticationFailed("The API key is unknown, expired or revoked.")
        act_as(user)
        return user, None

    def authenticate_header(self, request: Request) -> str:
        """Say how to authenticate: makes a missing key a 401 rather than a 403."""
        return self.keyword
