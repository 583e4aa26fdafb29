"""Sessions of browsers in the database, each with its user (`login_sessions` lists them).

Django's own extension of its database store: one row holds all, so a session that is deleted from
the list is signed out with the next request.
"""

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db

from users.models import LoginSession


class SessionStore(db.SessionStore):
    """Django's store with the column `user_id`."""

    @classmethod
    def get_model_class(cls) -> type[LoginSession]:
        return LoginSession

    def create_model_instance(self, data: dict[str, Any]) -> LoginSession:
        row: Any = super().create_model_instance(data)
        row.user_id = int(data[SESSION_KEY]) if SESSION_KEY in data else None
        found: LoginSession = row
        return found
