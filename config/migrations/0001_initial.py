"""What waits for all other apps: the rows of other packages, what the trail follows, schedules."""

from django.db import migrations
from django.utils import timezone

from common.audit_trail_sql import guard, track
from common.migration_sql import run_file
from common.row_security import operator_rows, shared_rows

# Tables that other packages bring, for operators only.
OPERATORS = (
    "django_admin_log",
    "django_celery_beat_clockedschedule",
    "django_celery_beat_crontabschedule",
    "django_celery_beat_intervalschedule",
    "django_celery_beat_periodictask",
    "django_celery_beat_periodictasks",
    "django_celery_beat_solarschedule",
    "django_migrations",
)
# What the audit trail follows: table, columns kept without their value, columns whose change alone
# leaves no line. console/tracked_tables.py as it was when this was written; a test compares them.
TRACKED = (
    ("users_user", ("password",), ("last_login",)),
    ("users_user_groups", (), ()),
    ("users_user_user_permissions", (), ()),
    ("auth_group", (), ()),
    ("auth_group_permissions", (), ()),
    ("users_apikey", ("secret_hash",), ("last_used_at",)),
    ("users_secondfactor", ("sealed_secret",), ("last_step",)),
    ("users_recoverycode", ("code_hash",), ()),
    ("signals_feed", (), ()),
    ("signals_feedtoken", ("secret_hash", "signing_key"), ()),
    (
        "events_channel",
        ("url_sealed",),
        ("consecutive_failures", "last_error", "last_sent_at", "backoff_until"),
    ),
    ("connections_dataconnection", (), ()),
    (
        "connections_executionconnection",
        ("sealed_credentials", "credentials_claim"),
        ("broker_host", "lane", "account_scope", "identity", "identity_credentials_digest"),
    ),
    ("connections_tradingpreset", (), ()),
    ("connections_subscription", (), ()),
    ("connections_killswitch", (), ()),
    ("connections_maintenancewindow", (), ()),
    ("django_celery_beat_periodictask", (), ("last_run_at", "total_run_count", "date_changed")),
    ("django_celery_beat_intervalschedule", (), ()),
    ("django_celery_beat_crontabschedule", (), ()),
    ("django_celery_beat_clockedschedule", (), ()),
    ("django_celery_beat_solarschedule", (), ()),
)
# What beat starts, and how often. Each message expires when the next one is due, so that a worker
# that was away does not find a pile. Due orders need no schedule: each worker polls for them.
# name, task, seconds, description
EVERY = (
    ("watch positions", "execution.watch_positions", 60, "Stop losses and targets that were hit."),
    ("reconcile", "execution.reconcile", 300, "Compare every account with its broker."),
    ("audit", "execution.audit", 3600, "Count what must be zero."),
    ("deliver events", "events.deliver", 2, "Inboxes, e-mail, webhooks."),
    ("run due tests", "connections.run_due_tests", 5, "Connection tests that were requested."),
    ("refresh accounts", "connections.refresh_accounts", 60, "Balances and instruments."),
    (
        "sign the audit trail",
        "users.checkpoint_trail",
        300,
        "Checks the trail's new lines and signs its head.",
    ),
    (
        "notify of ending API keys",
        "users.notify_key_ends",
        3600,
        "Owners are notified 7 days and 1 day before, and when a key has ended.",
    ),
)
# name, task, hour, minute, time zone, description
DAILY = (
    (
        "compute daily results",
        "analytics.compute_daily",
        ("17", "10", "America/New_York"),
        "The trading day ends at 17:00 there.",
    ),
    (
        "verify the audit trail",
        "config.verify_trail",
        ("3", "40", "UTC"),
        "Checks every line of the trail; operators get an alarm if it is broken.",
    ),
)
QUEUE = "maintenance"
# Stops must not wait behind e-mail, tests and reads of slow brokers.
QUEUES = {"execution.watch_positions": "exits"}


def write(apps, schema_editor):
    """Write the schedules that are missing: operators may change them all."""
    task = apps.get_model("django_celery_beat", "PeriodicTask")
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    crontab = apps.get_model("django_celery_beat", "CrontabSchedule")
    for name, path, seconds, description in EVERY:
        every, _ = interval.objects.get_or_create(every=seconds, period="seconds")
        task.objects.get_or_create(
            name=name,
            defaults={
                "task": path,
                "interval": every,
                "queue": QUEUES.get(path, QUEUE),
                "expire_seconds": seconds,
                "description": description,
            },
        )
    for name, path, (hour, minute, zone), description in DAILY:
        at, _ = crontab.objects.get_or_create(
            minute=minute,
            hour=hour,
            day_of_week="*",
            day_of_month="*",
            month_of_year="*",
            timezone=zone,
        )
        task.objects.get_or_create(
            name=name,
            defaults={
                "task": path,
                "crontab": at,
                "queue": QUEUE,
                "expire_seconds": 12 * 3600,
                "description": description,
            },
        )
    # a beat that runs already reads its schedules again when this moves
    apps.get_model("django_celery_beat", "PeriodicTasks").objects.update_or_create(
        ident=1, defaults={"last_update": timezone.now()}
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("analytics", "0001_initial"),
        ("common", "0001_initial"),
        ("connections", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("events", "0001_initial"),
        ("execution", "0001_initial"),
        ("paper", "0001_initial"),
        ("positions", "0001_initial"),
        ("prices", "0001_initial"),
        ("sessions", "0001_initial"),
        ("signals", "0002_row_security"),
        ("users", "0001_initial"),
    ]
    operations = [
        # Read before the user is known: the session by which one is signed in.
        shared_rows("django_session", writable=True),
        *(operator_rows(table) for table in OPERATORS),
        run_file(__file__, "guards.sql"),
        *(track(table, secrets=secrets, ignored=ignored) for table, secrets, ignored in TRACKED),
        # From here on only triggers write the trail, also for the owner of the tables.
        guard(),
        migrations.RunPython(write),
    ]
