"""What needs the tables of all apps: row security of packages, audit trail, schedules, vacuums."""

from django.db import migrations
from django.utils import timezone

from common.db.audit_trail_sql import guard, track
from common.db.migration_sql import run_file
from common.db.row_security import operator_rows, shared_rows
from common.db.table_statistics import ANALYZE_RARELY

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
    ("common_settingsversion", (), ()),
    ("users_invitation", ("secret_hash",), ()),
    ("signals_feed", (), ()),
    ("signals_approvalrequest", (), ()),
    ("signals_feedtoken", ("secret_hash", "signing_key"), ()),
    ("alerts_telegrambot", ("token_sealed",), ("username", "checked_at", "contact_at", "update_at", "next_offset", "refused_count", "error_code", "error_detail", "error_at", "failures", "due_at", "holder", "fence", "lease_until")),
    ("alerts_telegramchat", (), ()),
    ("events_channel", ("url_sealed", "secret_sealed", "previous_secret_sealed"), ("consecutive_failures", "last_error", "last_sent_at", "backoff_until", "test_event_id")),
    ("connections_dataconnection", (), ()),
    ("connections_executionconnection", ("sealed_credentials", "credentials_claim"), ("broker_host", "lane", "account_scope", "identity", "identity_credentials_digest")),
    ("connections_tradingpreset", (), ()),
    ("connections_subscription", (), ()),
    ("connections_subscriptionroute", (), ()),
    ("buses_busroute", (), ()),
    ("buses_buslane", (), ("polled_at", "failures", "last_error", "last_error_at", "alerted_at", "cursor", "bus", "position", "last_message_at")),
    ("connections_subscriptiontwin", (), ()),
    ("connections_killswitch", (), ()),
    ("connections_decisionprovider", ("secret_sealed",), ()),
    ("connections_newscalendar", (), ()),
    ("connections_losslimit", (), ()),
    ("connections_tradingpause", (), ()),
    ("connections_cashflow", (), ()),
    ("execution_scopedaction", (), ()),
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
    ("watch positions", "execution.watch_positions", 60, "Closes positions whose stop loss or take profit was hit."),
    ("reconcile", "execution.reconcile", 300, "Compares every account with its broker."),
    ("audit", "execution.audit", 3600, "Counts what must be zero."),
    ("deliver events", "events.deliver", 2, "Sends events to inboxes, e-mail and webhooks."),
    ("run due tests", "connections.run_due_tests", 5, "Runs the connection tests that are due."),
    ("refresh accounts", "connections.refresh_accounts", 60, "Reads balances and instruments from the brokers."),
    ("sign the audit trail", "users.checkpoint_trail", 300, "Checks the trail's new lines and signs the newest one."),
    ("notify of ending API keys", "users.notify_key_ends", 3600, "Notifies owners 7 days and 1 day before a key ends, and when it has ended."),
    ("send mails about logins", "users.send_account_mails", 3, "Sends the links of sign-up, new passwords and confirmed addresses."),
    ("make archives of users' data", "users.build_data_exports", 5, "Makes the archives that users ask for under “Your data”; deletes old ones."),
    ("run preflights", "analytics.run_preflights", 2, "Replays feeds on accounts for the users who asked for it."),
    ("wind up paper twins", "execution.wind_up_twins", 15, "Lets paper twins follow their subscriptions, and closes those that have ended."),
    ("sweep kept answers", "common.sweep_kept_answers", 3600, "Deletes answers kept for an Idempotency-Key for longer than a day."),
    ("compute execution quality", "analytics.compute_execution", 60, "Computes how well the installation executes, by day."),
    ("watch buses", "buses.watch", 30, "Alerts operators when a bus falls behind."),
)
# name, task, (hour, minute, time zone), seconds until the message expires, description
AT_TIMES = (
    ("compute daily results", "analytics.compute_daily", ("17", "10", "America/New_York"), 43200, "Runs after the end of the trading day, 17:00 in New York."),
    ("verify the audit trail", "config.verify_trail", ("3", "40", "UTC"), 43200, "Checks every line of the trail; alerts operators if it is broken."),
    ("thin out account histories", "connections.thin_account_history", ("3", "25", "UTC"), 43200, "Keeps hourly balances for 100 days, then one a trading day."),
    ("refresh exchange hours", "connections.refresh_exchange_hours", ("*", "35", "UTC"), 1800, "Stores when exchanges are open in the next days."),
    ("compute the records of feeds", "analytics.compute_records", ("*", "5", "UTC"), 1800, "Signs the heads of all feeds' records, and computes their figures."),
    ("verify the records of feeds", "analytics.verify_records", ("3", "50", "UTC"), 43200, "Checks every link of every record; alerts operators if one is broken."),
    ("delete ended sessions", "users.delete_ended_sessions", ("3", "20", "UTC"), 43200, "Deletes sessions of browsers that have ended, and forms kept in them."),
    ("archive old rows", "config.archive_old_rows", ("*/6", "40", "UTC"), 3600, "Moves old rows to Parquet files: FILLCAST_RETENTION_ settings."),
)
QUEUE = "maintenance"
# Stop losses must not wait behind e-mail, connection tests and slow brokers.
QUEUES = {"execution.watch_positions": "exits"}
# Few live rows in large tables: dead versions are removed after so many changes, not after a fifth of
# the table. Otherwise each query for what is due reads past all of them, most in an outage. Each vacuum
# has all sessions plan their kept statements of the table again, so it is not done more often. Events
# keep PostgreSQL's own scale factor.
VACUUM_OFTEN = """
ALTER TABLE execution_order SET (autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE positions_executionposition SET (autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE positions_stoprule SET (autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE events_event SET (autovacuum_vacuum_threshold = 20000)
"""


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
    for name, path, (hour, minute, zone), expire_seconds, description in AT_TIMES:
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
                "expire_seconds": expire_seconds,
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
        ("alerts", "0001_initial"),
        ("alerts", "0001_initial"),
        ("analytics", "0001_initial"),
        ("buses", "0001_initial"),
        ("common", "0001_initial"),
        ("connections", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("events", "0001_initial"),
        ("execution", "0001_initial"),
        ("paper", "0001_initial"),
        ("positions", "0001_initial"),
        ("prices", "0001_initial"),
        ("sessions", "0001_initial"),
        ("signals", "0001_initial"),
        ("users", "0001_initial"),
    ]
    operations = [
        # The session is read before the user is known.
        shared_rows("django_session", writable=True),
        *(operator_rows(table) for table in OPERATORS),
        run_file(__file__, "guards.sql"),
        run_file(__file__, "guarding_schedules.sql"),
        *(track(table, secrets=secrets, ignored=ignored) for table, secrets, ignored in TRACKED),
        track("buses_busmessage", ignored=("body",), decided=("decided_by_id",)),
        # From here on only triggers can write the trail, even for the owner of the tables.
        guard(),
        migrations.RunSQL(ANALYZE_RARELY),
        migrations.RunSQL(VACUUM_OFTEN),
        migrations.RunPython(write),
    ]
