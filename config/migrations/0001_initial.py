"""What needs the tables of all other apps: row security of packages, audit trail, schedules."""

from django.db import migrations
from django.utils import timezone

from common.audit_trail_sql import guard, track
from common.migration_sql import run_file
from common.row_security import operator_rows, shared_rows

# Tables of other packages, for operators only.
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
# What the audit trail records: table, columns recorded without their value, columns that alone add
# no line. A copy of console/tracked_tables.py at the time of this migration; a test compares them.
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
# What beat starts, and how often. Each message expires when the next one is due, so that they do
# not pile up while no worker runs. Due orders need no schedule: each worker polls for them.
# name, task, seconds, description
EVERY = (
    (
        "watch positions",
        "execution.watch_positions",
        60,
        "Closes positions whose stop loss or take profit was hit.",
    ),
    ("reconcile", "execution.reconcile", 300, "Compares every account with its broker."),
    ("audit", "execution.audit", 3600, "Counts what must be zero."),
    ("deliver events", "events.deliver", 2, "Sends events to inboxes, e-mail and webhooks."),
    ("run due tests", "connections.run_due_tests", 5, "Runs the connection tests that are due."),
    (
        "refresh accounts",
        "connections.refresh_accounts",
        60,
        "Reads balances and instruments from the brokers.",
    ),
    (
        "sign the audit trail",
        "users.checkpoint_trail",
        300,
        "Checks the trail's new lines and signs the newest one.",
    ),
    (
        "notify of ending API keys",
        "users.notify_key_ends",
        3600,
        "Notifies owners 7 days and 1 day before a key ends, and when it has ended.",
    ),
)
# name, task, hour, minute, time zone, description
DAILY = (
    (
        "compute daily results",
        "analytics.compute_daily",
        ("17", "10", "America/New_York"),
        "Runs after the end of the trading day, 17:00 in New York.",
    ),
    (
        "verify the audit trail",
        "config.verify_trail",
        ("3", "40", "UTC"),
        "Checks every line of the trail; alerts operators if it is broken.",
    ),
)
QUEUE = "maintenance"
# Stop losses must not wait behind e-mail, connection tests and slow brokers.
QUEUES = {"execution.watch_positions": "exits"}


def write(apps, schema_editor):
    """Create the missing schedules; existing ones stay, since operators may change them."""
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
    # a running beat reloads its schedules when this time changes
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
        # The session is read before the user is known.
        shared_rows("django_session", writable=True),
        *(operator_rows(table) for table in OPERATORS),
        run_file(__file__, "guards.sql"),
        *(track(table, secrets=secrets, ignored=ignored) for table, secrets, ignored in TRACKED),
        # From here on only triggers can write the trail, even for the owner of the tables.
        guard(),
        migrations.RunPython(write),
    ]
