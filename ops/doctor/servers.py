"""The doctor's checks of the servers and of this machine."""

import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from brokers.types import Check
from common.db.sql import database_now, rows
from common.process import message_queues
from common.sealing import (
    CannotOpenError,
    new_private_key,
    open_sealed,
    public_key_of,
    seal,
)
from common.web.formatting import join_first
from config import databases
from config.python_build import is_optimized
from ops.doctor.verdicts import CheckFunction, failure, graded, warning, well
from users.mails.account_mails import MailStatus, mail_status

CLOCK_WARN, CLOCK_FAIL = 0.5, 5.0
ROLES = ("fillcast_trade", "fillcast_web")


def environment() -> Check:
    """Warn about valid but doubtful settings; malformed ones already stopped this command."""
    name = "environment"
    if settings.FILLCAST_ENV != "production":
        return well(name, "Development: settings that are missing have generated values.")
    if not settings.FILLCAST_PUBLIC_URL.startswith("https://"):
        detail = "Production, but FILLCAST_PUBLIC_URL is not https."
        return warning(name, detail, "See docs/settings.md.")
    return well(name, "Production; every required setting is present.")


def email() -> Check:
    """Fail if links for passwords and alarms reach no one."""
    return judge_email(mail_status())


def judge_email(status: MailStatus) -> Check:
    """Judge what this installation lacks to send e-mail."""
    if status.works:
        text = "It is printed to the log: development." if status.is_printed else "Is set up."
        return well("e-mail", text)
    return failure(
        "e-mail",
        f"No e-mail is sent: {' and '.join(status.missing)} is not set.",
        "Without it forgotten passwords and alarms by e-mail reach no one. Set it for all processes"
        " and restart them: docs/settings.md.",
    )


def python() -> Check:
    """Warn about a Python that was built without optimizations."""
    return judge_python(platform.python_version(), optimized=is_optimized())


def judge_python(version: str, *, optimized: bool) -> Check:
    """Judge the build of the Python that runs this."""
    if optimized:
        return well("python", f"Python {version}.")
    return warning(
        "python",
        f"Python {version}, built without optimizations: orders take a seventh more time in it.",
        "Install one that has them, as those of distributions do, and make .venv again with it: "
        "rm -r .venv; FILLCAST_PYTHON=/path/to/python make venv",
    )


def disk() -> Check:
    """Check the free disk space for var/."""
    folder = Path(settings.FILLCAST_VAR)
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return judge_disk(usage.free, usage.total)


def judge_disk(free: int, total: int) -> Check:
    """Judge free and total bytes: a full disk stops PostgreSQL, and with it everything."""
    share, gigabytes = free / total, free / 1e9
    detail = f"{gigabytes:,.1f} GB free ({share:.0%}) for {Path(settings.FILLCAST_VAR).name}/."
    remedy = "Free space, or move FILLCAST_VAR and PostgreSQL's data to a larger disk."
    if gigabytes < 0.5 or share < 0.02:
        return failure("disk", detail, remedy)
    if gigabytes < 2 or share < 0.10:
        return warning("disk", detail, remedy)
    return well("disk", detail)


def redis_server() -> list[Check]:
    """Check that Redis answers, and compare its clock."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
    try:
        started = time.monotonic()
        seconds, micros = client.time()
        rtt = time.monotonic() - started
        apart = datetime.now(UTC).timestamp() - rtt / 2 - (seconds + micros / 1e6)
        version = _redis_version(client)
    except redis.RedisError as error:
        remedy = (
            "Start Redis and check REDIS_URL. Workers continue without it; scheduled jobs do not."
        )
        return [failure("redis", f"No answer: {type(error).__name__}.", remedy)]
    finally:
        client.close()
    return [judge_redis(version, rtt * 1000), judge_clock("clock: redis", apart)]


def _redis_version(client: redis.Redis) -> str:
    """Return the server's version; "" if it states none, as the one in pure Python."""
    try:
        return str(client.info("server").get("redis_version", "?"))
    except redis.ResponseError:
        return ""


def queues() -> list[Check]:
    """Check that RabbitMQ answers, if the queues are there."""
    if settings.CELERY_BROKER_URL == settings.REDIS_URL:
        return []
    try:
        waiting = message_queues.lengths(["execution", "exits", "maintenance"])
    except (OperationalError, OSError) as error:
        remedy = (
            "Start RabbitMQ and check FILLCAST_QUEUE_URL. Workers continue without it; scheduled"
            " jobs do not."
        )
        return [failure("rabbitmq", f"No answer: {type(error).__name__}.", remedy)]
    return [well("rabbitmq", f"RabbitMQ answers; {sum(waiting.values())} messages wait.")]


def judge_redis(version: str, milliseconds: float) -> Check:
    """Judge the version of Redis, "" if it states none; milliseconds: round trip of one command."""
    if not version:
        detail = f"A Redis that states no version answers in {milliseconds:.1f} ms."
        remedy = (
            "It is the one in pure Python, for trials only. Install Redis or Valkey 6.2 or newer."
        )
        return warning("redis", detail, remedy)
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    detail = f"Redis {version} answers in {milliseconds:.1f} ms."
    if parts < (6, 2):
        return warning("redis", detail, "Upgrade Redis: Fillcast is tested with 6.2 and newer.")
    return well("redis", detail)


def judge_clock(name: str, apart: float) -> Check:
    """Judge how far two clocks differ. apart: seconds that this machine is ahead of the other."""
    word = "ahead of" if apart >= 0 else "behind"
    return graded(
        name,
        abs(apart),
        f"This machine is {abs(apart):.3f} s {word} it.",
        warn=CLOCK_WARN,
        fail=CLOCK_FAIL,
        remedy="Synchronize the clocks of both machines (chrony, NTP).",
    )


def database_clock() -> Check:
    """Compare this machine's clock with the database server's."""
    started = time.monotonic()
    now = database_now()
    rtt = time.monotonic() - started
    apart = datetime.now(UTC).timestamp() - rtt / 2 - now.timestamp()
    return judge_clock("clock: database", apart)


def keys() -> Check:
    """Seal a test value with the public key and open it with the private keys."""
    return judge_keys(
        settings.FILLCAST_CREDENTIALS_PUBLIC_KEY,
        settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS,
        must_open=settings.FILLCAST_DB_ROLE == "trade",
    )


def judge_keys(public: bytes | None, private: Sequence[bytes], *, must_open: bool) -> Check:
    """Judge the keys of credentials. must_open: this process trades, so it needs a private key."""
    name = "credentials keys"
    if public is None and not private:
        remedy = "Make a pair with `manage.py rotate_credentials_key --new` and set it."
        return failure(name, "No key is set: credentials can be neither stored nor read.", remedy)
    public = public or public_key_of(private[0])
    if not private:
        if must_open:
            remedy = "Set FILLCAST_CREDENTIALS_PRIVATE_KEYS for workers."
            return failure(name, "This process trades and cannot open credentials.", remedy)
        return well(
            name, "This process can seal but not open credentials, as a web process should."
        )
    secret = new_private_key()
    try:
        opened = open_sealed(
            seal(secret, context=b"doctor", public_key=public),
            context=b"doctor",
            private_keys=private,
        )
    except CannotOpenError:
        remedy = "Put the private key of FILLCAST_CREDENTIALS_PUBLIC_KEY first in the list."
        return failure(name, "No private key here opens what the public key seals.", remedy)
    if opened != secret:
        return failure(name, "A sealed text came back changed.", "Reinstall `cryptography`.")
    if public_key_of(private[0]) != public:
        remedy = "Put the newest private key first, then run `manage.py rotate_credentials_key`."
        return warning(name, "The public key belongs to an older private key.", remedy)
    return well(name, f"Sealing and opening works ({len(private)} private keys).")


def roles() -> Check:
    """Check that the database roles exist and cannot bypass row-level security."""
    name = "database roles"
    found = {
        row.rolname: row
        for row in rows(
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = ANY(%s)",
            [list(ROLES)],
        )
    }
    if missing := [role for role in ROLES if role not in found]:
        remedy = "Run `manage.py migrate` as a role that may create roles."
        return failure(name, f"{', '.join(missing)} missing.", remedy)
    if strong := [role for role in ROLES if found[role].rolsuper or found[role].rolbypassrls]:
        remedy = f"ALTER ROLE {strong[0]} NOSUPERUSER NOBYPASSRLS."
        return failure(name, f"{', '.join(strong)} would see every tenant's rows.", remedy)
    return well(name, "The trading and web roles exist and are restricted.")


def row_security() -> Check:
    """Check that row-level security is on for every table, with a policy."""
    name = "row-level security"
    tables = rows(
        "SELECT c.relname, c.relrowsecurity AS is_on,"
        " EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS has_policy"
        " FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND c.relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    unprotected = [row.relname for row in tables if not (row.is_on and row.has_policy)]
    if unprotected:
        remedy = "Run `manage.py migrate`; a new table needs a line of common.db.row_security."
        return failure(name, f"Without it: {join_first(unprotected, 5)}.", remedy)
    return well(name, f"On for all {len(tables)} tables.")


def append_only() -> Check:
    """Check that no application role can change or delete rows of the execution log."""
    name = "append-only log"
    excess = rows(
        "SELECT role, privilege FROM unnest(%s::text[]) role,"
        " unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) privilege"
        " WHERE has_table_privilege(role, 'execution_executionlog', privilege)",
        [list(ROLES)],
    )
    if excess:
        remedy = f"REVOKE UPDATE, DELETE, TRUNCATE ON execution_executionlog FROM {excess[0].role}."
        return failure(
            name, f"{excess[0].role} may {excess[0].privilege} the execution log.", remedy
        )
    return well(name, "The application can only add to the execution log, and archive old lines.")


def disk_rights() -> Check:
    """Check that no application role may fill the disk by what no quota counts."""
    name = "rights on the disk"
    excess = rows(
        "SELECT role, what FROM unnest(%s::text[]) role,"
        " LATERAL (VALUES ('temporary tables', has_database_privilege(role, current_database(),"
        " 'TEMPORARY')), ('large objects', has_function_privilege(role, 'lo_create(oid)',"
        " 'EXECUTE')), ('tables', has_schema_privilege(role, 'public', 'CREATE')))"
        " AS may(what, has) WHERE has",
        [list(ROLES)],
    )
    if excess:
        remedy = "Run as a superuser, in this database, common/migrations/sql/disk.sql."
        return warning(name, f"{excess[0].role} may make {excess[0].what}.", remedy)
    return well(name, "The application makes no temporary tables and no large objects.")


def migrations() -> Check:
    """Check that every migration is applied."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        return well("migrations", "All are applied.")
    first = f"{plan[0][0].app_label}.{plan[0][0].name}"
    return failure(
        "migrations", f"{len(plan)} are not applied, first {first}.", "Run `manage.py migrate`."
    )


def timeouts() -> list[Check]:
    """Check this session's time-outs, what a statement may write, and that commits survive."""
    expected = databases.timeouts(settings.FILLCAST_DB_ROLE, settings.FILLCAST_LEASE_SECONDS)
    expected.pop("statement_timeout")  # the doctor sets its own
    names = [*expected, "fsync", "full_page_writes", "synchronous_commit", "temp_file_limit"]
    found = {
        row.name: row.setting
        for row in rows("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [names])
    }
    checks = [judge_timeouts(expected, found), judge_durability(found)]
    return [*checks, judge_temporary_files(found)]


def judge_timeouts(expected: Mapping[str, int], found: Mapping[str, str]) -> Check:
    """Judge the time-outs of a session, in milliseconds by name."""
    name = "time-outs"
    if wrong := [key for key, ms in expected.items() if int(found.get(key, 0)) != ms]:
        key = wrong[0]
        remedy = (
            "A connection pooler drops start-up options: connect directly, or name it in"
            " FILLCAST_DATABASES as pooler=HOST:PORT (docs/deployment.md)."
        )
        return failure(name, f"{key} is {found.get(key)} ms, not {expected[key]}.", remedy)
    return well(name, "Sessions get the time-outs that they request.")


def judge_durability(found: Mapping[str, str]) -> Check:
    """Judge the server's durability settings; found: values by name."""
    name = "durability"
    if off := [key for key in ("fsync", "full_page_writes") if found.get(key) == "off"]:
        remedy = f"Set {off[0]} = on: every order that was sent must be on disk."
        return failure(name, f"{off[0]} is off; a power loss can lose committed rows.", remedy)
    if found.get("synchronous_commit") == "off":
        remedy = "Set synchronous_commit = on: an intent must be on disk before its order leaves."
        return failure(name, "synchronous_commit is off.", remedy)
    return well(name, "Committed rows survive a power loss.")


def judge_temporary_files(found: Mapping[str, str]) -> Check:
    """Judge how much of the disk a session may fill by sorting; found: values by name, in kB."""
    name = "temporary files"
    if (kilobytes := int(found.get("temp_file_limit", -1))) < 0:
        remedy = "Set temp_file_limit = '16GB' in postgresql.conf: an index may need some of it."
        return warning(name, "A statement may fill the disk by what it sorts.", remedy)
    return well(name, f"A session may write {kilobytes // 1024:,} MB of them.")


WITHOUT_DATABASE: list[tuple[str, CheckFunction]] = [
    ("environment", environment),
    ("e-mail", email),
    ("python", python),
    ("disk", disk),
    ("redis", redis_server),
    ("rabbitmq", queues),
    ("credentials keys", keys),
]
DATABASE: list[tuple[str, CheckFunction]] = [
    ("migrations", migrations),
    ("database roles", roles),
    ("row-level security", row_security),
    ("append-only log", append_only),
    ("rights on the disk", disk_rights),
    ("time-outs", timeouts),
    ("clock: database", database_clock),
]
