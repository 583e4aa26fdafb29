"""Whether the caller of a stream may still read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework.request import Request

from users.models import ApiKey, LoginSession, User
from users.tenancy import for_all_tenants


@dataclass(frozen=True, slots=True)
class Access:
    """How a stream was opened. key_id: by an API key; else by a session with this key and hash.

    is_operator: whether it shows all tenants' events.
    """

    user_id: int
    is_operator: bool
    key_id: int | None
    session_key: str
    session_hash: str

    def is_still_allowed(self) -> bool:
        """Return whether the key or session, the user and the role are as they were."""
        with transaction.atomic(), for_all_tenants():
            user = User.objects.filter(pk=self.user_id, is_active=True).first()
            if user is None or user.is_operator != self.is_operator:
                return False
            if self.key_id is not None:
                key = ApiKey.objects.filter(pk=self.key_id).first()
                return key is not None and key.is_open
            known = LoginSession.objects.filter(
                session_key=self.session_key, expire_date__gt=timezone.now()
            )
            is_same = constant_time_compare(self.session_hash, user.get_session_auth_hash())
            return is_same and known.exists()


def access_of(request: Request) -> Access:
    """Return how a request may read."""
    user: Any = request.user
    session = getattr(request, "session", None)
    return Access(
        user_id=user.pk,
        is_operator=user.is_operator,
        key_id=user.key_id,
        session_key=(session.session_key or "") if session is not None else "",
        session_hash=session.get(HASH_SESSION_KEY, "") if session is not None else "",
    )
