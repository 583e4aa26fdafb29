"""Run the checks of an installation. Each finding states what to do about it.

A check only reads. A check that raises becomes a finding itself. The `judge_*` functions are pure,
so that tests can reach every verdict without breaking a server.
"""

from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError, connection

from brokers.types import Check
from common.db.direct_sessions import is_pooled
from ops.doctor import (
    archive,
    buses,
    certificates,
    database_paths,
    days,
    open_files,
    operational,
    push,
    send_journals,
    servers,
    trading,
    watchdog,
)
from ops.doctor.verdicts import FAIL, SECONDS, CheckFunction, failure, warning, well

WITHOUT_SERVER = (
    "Start PostgreSQL, and check DATABASE_URL. Until it answers, nothing is traded, and stops and"
    " targets that Fillcast guards are not watched; those that brokers hold work."
)
WITHOUT_DATABASE = [*servers.WITHOUT_DATABASE, *certificates.CHECKS]


def examine(
    before: Iterable[tuple[str, CheckFunction]] | None = None,
    database: Iterable[tuple[str, CheckFunction]] | None = None,
) -> list[Check]:
    """Run every check and return the findings in order.

    before: checks that need no database. database: checks that do; one line replaces them if the
    database does not answer. By default all checks run.
    """
    findings: list[Check] = []
    for name, check in before if before is not None else WITHOUT_DATABASE:
        findings += _run_check(name, check)
    needing = (
        [
            *servers.DATABASE,
            *database_paths.CHECKS,
            *operational.CHECKS,
            ("push keys", push.push_keys),
            *archive.CHECKS,
            *send_journals.CHECKS,
            *open_files.CHECKS,
            *trading.CHECKS,
            *days.CHECKS,
            *buses.CHECKS,
            *watchdog.CHECKS,
        ]
        if database is None
        else database
    )
    database_finding = _check_database()
    findings.append(database_finding)
    if database_finding.result is FAIL:
        names = ", ".join(name for name, _ in needing)
        return [*findings, warning("not checked", names, "Fix the database first.")]
    for name, check in needing:
        findings += _run_check(name, check)
    return findings


def is_well(findings: Iterable[Check]) -> bool:
    """Return whether no check failed. Warnings do not count: they do not stop trading."""
    return all(finding.result is not FAIL for finding in findings)


def _run_check(name: str, check: CheckFunction) -> list[Check]:
    try:
        found = check()
    except (DatabaseError, InterfaceError) as error:
        connection.close()
        first = str(error).strip().splitlines()[:1]
        return [failure(name, "".join(first), "Read the database's log; run `manage.py migrate`.")]
    except Exception as error:  # any: one broken check must not hide the findings of the others
        detail = f"The check itself failed: {type(error).__name__}: {error}"
        return [failure(name, detail, "Report it to the developers.")]
    return [found] if isinstance(found, Check) else list(found)


def _check_database() -> Check:
    name = "database"
    try:
        with connection.cursor() as cursor:
            if not is_pooled():  # there it would stay, for other processes; the login has a limit
                cursor.execute(f"SET statement_timeout = '{SECONDS}s'")
            cursor.execute("SELECT current_setting('server_version_num')::int")
            version = cursor.fetchone()[0] // 10_000
    except (DatabaseError, InterfaceError) as error:
        first = str(error).strip().splitlines()[:1]
        return failure(name, "".join(first), WITHOUT_SERVER)
    return judge_version(version)


def judge_version(version: int) -> Check:
    """Judge PostgreSQL's major version."""
    detail = f"PostgreSQL {version} answers."
    if version < 15:
        return failure(
            "database",
            detail,
            "Upgrade to PostgreSQL 15 to 18; this version lacks features that Fillcast uses.",
        )
    if version > 18:
        return warning(
            "database",
            detail,
            "Fillcast is tested with 15 to 18; test this version before trading.",
        )
    return well("database", detail)
