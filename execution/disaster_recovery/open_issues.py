"""Open issues of a recovery epoch: what must be resolved before entries continue."""

from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from common.db.sql import rows
from connections.models import Epoch
from connections.selectors import CONNECTIONS_WITH_HEALTH_SQL
from positions.joins import position_join_sql

_COUNT = """
SELECT count(*) AS number, coalesce((array_agg(example))[1:10], '{{}}') AS examples FROM ({}) x
"""
# Code, sentence, and the statement that finds examples.
_ISSUES = (
    (
        "UNKNOWN",
        "Orders that are still looked up at their brokers. Orders older than a broker's history are"
        " drift that a person must decide.",
        """SELECT 'O-' || id AS example FROM execution_order
        WHERE status IN ('SUBMITTING', 'UNKNOWN') AND created_at <= %(since)s ORDER BY id""",
    ),
    (
        "UNCOMPARED",
        "Connections that have not been compared with their broker since. We try every few seconds;"
        " you may deactivate a connection that stays in error.",
        f"""SELECT c.name || ' (' || c.account || ')' AS example
        FROM {CONNECTIONS_WITH_HEALTH_SQL}
        WHERE c.is_active AND c.archived_at IS NULL AND h.status = 'ACTIVE'
          AND h.reconciled_at IS NULL ORDER BY c.name""",
    ),
    (
        "DRIFT",
        "Differences from brokers without a decision. Those with our tag are orders that the"
        " database lost.",
        """SELECT 'D-' || id || ' ' || kind || ' ' || key AS example FROM execution_driftitem
        WHERE state = 'OPEN' AND seen_at >= %(opened_at)s
          AND (order_id IS NOT NULL OR position_id IS NOT NULL
            OR coalesce(evidence ->> 'client_order_id', '') = ''
            OR evidence ->> 'client_order_id' LIKE %(tag)s) ORDER BY id""",
    ),
    (
        "EXITS",
        "Exits that waited when the backup was made. They are sent once a read shows that the"
        " broker holds all that they close. Otherwise decide the difference and close by hand.",
        f"""SELECT 'O-' || o.id AS example FROM execution_order o
        {position_join_sql("o.position_id")}
        WHERE o.id = ANY(%(held_exits)s) AND o.status = 'FAILED' AND p.quantity > 0
        ORDER BY o.id""",
    ),
)


@dataclass(frozen=True, slots=True)
class OpenIssue:
    """Why an open epoch is not ready for its release.

    code: WAIT, BOOKS or one of _ISSUES. examples: up to ten names of what is concerned.
    """

    code: str
    count: int
    sentence: str
    examples: list[str]


def list_open_issues(epoch: Epoch) -> list[OpenIssue]:
    """Return the open issues of an epoch. With none it may be released."""
    scope = {
        "since": epoch.since,
        "opened_at": epoch.opened_at,
        "tag": f"{settings.FILLCAST_INSTALLATION_TAG}%",
        "held_exits": epoch.treated.get("exits_held", []),
    }
    issues = []
    if epoch.answer_by > timezone.now():
        until = f"{epoch.answer_by:%H:%M:%S} UTC"
        sentence = f"Processes from before the restore may still send until {until}."
        issues.append(OpenIssue("WAIT", 1, sentence, []))
    if epoch.books_read_at is None:
        sentence = (
            "The brokers' books have not all been read. A maintenance worker reads them; its log"
            " states any error."
        )
        issues.append(OpenIssue("BOOKS", 1, sentence, []))
    for code, sentence, statement in _ISSUES:
        (row,) = rows(_COUNT.format(statement), scope)
        if row.number:
            issues.append(OpenIssue(code, row.number, sentence, row.examples))
    return issues
