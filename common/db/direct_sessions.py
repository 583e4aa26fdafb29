"""The way past a transaction pooler, for what needs a database session of its own.

That is LISTEN and a lock that outlives its transaction. Everything else goes through the pooler,
which may give each transaction another server session. docs/adr/0058.
"""

from django.db import DEFAULT_DB_ALIAS, connections

DIRECT = "direct"
REPLICA = "replica"
"""The alias of a streaming replica, which `analytics/replica.py` reads."""
EXPECTED = "EXPECTED_SESSION"
"""A key of a DATABASES entry that leads to a transaction pooler: what its sessions must be like."""


def direct_alias() -> str:
    """Return the alias of the database whose sessions are PostgreSQL's own."""
    return DIRECT if DIRECT in connections.settings else DEFAULT_DB_ALIAS


def is_pooled(alias: str = DEFAULT_DB_ALIAS) -> bool:
    """Return whether the sessions of this database are those of a transaction pooler.

    Then nothing may be left behind in one: no prepared statement, and no setting but by SET LOCAL.
    """
    return EXPECTED in connections.settings[alias]
