"""Django's PostgreSQL engine, which refuses sessions with wrong parameters."""

from django.db.backends.postgresql import base

from common.db.session_checks import CheckedSessions


class DatabaseWrapper(CheckedSessions, base.DatabaseWrapper):
    """Django's connection of a thread, with checked sessions."""
