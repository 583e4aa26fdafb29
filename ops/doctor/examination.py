"""Is this installation well? Named checks, each with what to do about it.

A check reads and judges; it changes nothing, and one that breaks is a finding itself. The judging
functions are pure, so that every verdict can be tried without breaking a server.
"""

from collections.abc import Iterable

from django.db import DatabaseError, InterfaceError, connection

from brokers.types import Check
from ops.doctor import servers, trading
from ops.doctor.verdicts import FAIL, SECONDS, CheckFunction, failure, warning, well


def examine(
    before: Iterable[tuple[str, CheckFunction]] | None = None,
    database: Iterable[tuple[str, CheckFunction]] | None = None,
) -> list[Check]:
    """Run every check and return the findings in order.

    before: those that need no database; database: those that do, left out with one line when it
    does not answer. The defaults are all that this installation has.
    """
    findings: list[Check] = []
    for name, look in before if before is not None else servers.WITHOUT_DATABASE:
        findings += _run_check(name, look)
    needing = [*servers.DATABASE, *trading.CHECKS] if database is None else database
    answer = _database_answers()
    findings.append(answer)
    if answer.result is FAIL:
        names = ", ".join(name for name, _ in needing)
        return [*findings, warning("not checked", names, "Mend the database first.")]
    for name, look in needing:
        findings += _run_check(name, look)
    return findings


def is_well(findings: Iterable[Check]) -> bool:
    """Warnings are no failures: the exit code is for what stops trading."""
    return all(finding.result is not FAIL for finding in findings)


def _run_check(name: str, look: CheckFunction) -> list[Check]:
    try:
        found = look()
    except (DatabaseError, InterfaceError) as error:
        connection.close()
        first = str(error).strip().splitlines()[:1]
        return [failure(name, "".join(first), "Read the database's log; run `manage.py migrate`.")]
    except Exception as error:
        said = f"The check itself broke: {type(error).__name__}: {error}"
        return [failure(name, said, "Report it to the developers.")]
    return [found] if isinstance(found, Check) else list(found)


def _database_answers() -> Check:
    name = "database"
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{SECONDS}s'")
            cursor.execute("SELECT current_setting('server_version_num')::int")
            version = cursor.fetchone()[0] // 10_000
    except (DatabaseError, InterfaceError) as error:
        first = str(error).strip().splitlines()[:1]
        return failure(name, "".join(first), "Start PostgreSQL, and check DATABASE_URL.")
    return judge_version(version)


def judge_version(version: int) -> Check:
    """PostgreSQL's major version."""
    detail = f"PostgreSQL {version} answers."
    if version < 15:
        return failure("database", detail, "Upgrade to PostgreSQL 15 to 18; it lacks what we use.")
    if version > 18:
        return warning("database", detail, "Tested with 15 to 18; try this one before trading.")
    return well("database", detail)
