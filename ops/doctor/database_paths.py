"""The doctor's checks of the ways to the database: past a pooler, and to a replica."""

from django.db import DatabaseError, connections

from analytics.replica import replica_lag
from brokers.types import Check
from common.db.direct_sessions import REPLICA, direct_alias, is_pooled
from common.db.sql import rows
from ops.doctor.verdicts import CheckFunction, failure, warning, well

REPLICA_LAG = 64 * 2**20  # bytes


def pooler() -> list[Check]:
    """Check that what needs a session of its own gets one, if there is a transaction pooler.

    That the others have their parameters was checked when this one was opened.
    """
    if not is_pooled():
        return []
    name = "pooler"
    names_itself = "SELECT coalesce(current_setting('fillcast.program', true), '') <> '' AS does"
    if rows(names_itself, using=direct_alias())[0].does:
        return [well(name, "Transactions go through it; DATABASE_URL leads past it.")]
    remedy = "Let DATABASE_URL name PostgreSQL's own address."
    return [failure(name, "DATABASE_URL drops startup options: it leads to a pooler.", remedy)]


def replica() -> list[Check]:
    """Check that the replica follows this primary, and how far it is behind."""
    if REPLICA not in connections.settings:
        return []
    name = "replica"
    try:
        found = replica_lag()
    except DatabaseError as error:
        remedy = "Start it and check replica= of FILLCAST_DATABASES. The primary answers meanwhile."
        return [warning(name, f"No answer: {str(error).strip().splitlines()[0]}", remedy)]
    return [judge_replica(**found)]


def judge_replica(*, is_ours: bool, follows: bool, lag: int, timelines: tuple[int, int]) -> Check:
    """Judge a replica. lag: bytes of the primary's log that it has not replayed. timelines: its own
    and the primary's."""
    name = "replica"
    if not is_ours or not follows:
        detail = "It was promoted." if is_ours else "It is the copy of another server."
        remedy = "Let replica= of FILLCAST_DATABASES name a standby that follows the primary."
        return failure(name, detail, remedy)
    if timelines[0] != timelines[1]:
        detail = "It is on timeline {} and the primary on timeline {}.".format(*timelines)
        remedy = (
            "Let it follow the promoted server, or remove it from FILLCAST_DATABASES. The primary"
            " answers meanwhile; a replica that follows is used from its next restart point on."
        )
        return warning(name, detail, remedy)
    detail = f"It follows, {lag / 1e6:,.1f} MB of the log behind."
    if lag > REPLICA_LAG:
        return warning(name, detail, "The primary answers meanwhile. Look at the standby's log.")
    return well(name, detail)


CHECKS: list[tuple[str, CheckFunction]] = [("pooler", pooler), ("replica", replica)]
