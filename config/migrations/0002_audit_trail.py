"""One audit trail for all tracked tables; the lines of the former tables are taken over."""

from django.db import migrations

from common.trail_functions import guard, track

TRACKED = (  # config/tracked_tables.py, as it was when this was written
    ("users_user", ("password",), ("last_login",)),
    ("users_user_groups", (), ()),
    ("users_user_user_permissions", (), ()),
    ("auth_group", (), ()),
    ("auth_group_permissions", (), ()),
    ("users_apikey", ("secret_hash",), ("last_used_at",)),
    ("signals_feed", (), ()),
    ("signals_feedtoken", ("secret_hash", "signing_key"), ()),
    (
        "events_channel",
        ("url_sealed",),
        ("failures_in_a_row", "last_error", "last_sent_at", "rest_until"),
    ),
    ("connections_dataconnection", (), ()),
    (
        "connections_executionconnection",
        ("sealed_credentials", "key_claim"),
        ("broker_host", "lane", "account_scope", "identity", "identity_of"),
    ),
    ("connections_tradingpreset", (), ()),
    ("connections_subscription", (), ()),
    ("connections_killswitch", (), ()),
    ("connections_maintenancewindow", (), ()),
    (
        "django_celery_beat_periodictask",
        (),
        ("last_run_at", "total_run_count", "date_changed"),
    ),
    ("django_celery_beat_intervalschedule", (), ()),
    ("django_celery_beat_crontabschedule", (), ()),
    ("django_celery_beat_clockedschedule", (), ()),
    ("django_celery_beat_solarschedule", (), ()),
)
FORMER = {
    "users_userevent": "users_user",
    "users_apikeyevent": "users_apikey",
    "users_scheduleevent": "django_celery_beat_periodictask",
    "connections_feedsettingsevent": "signals_feed",
    "connections_dataconnectionevent": "connections_dataconnection",
    "connections_executionconnectionevent": "connections_executionconnection",
    "connections_tradingpresetevent": "connections_tradingpreset",
    "connections_subscriptionevent": "connections_subscription",
    "connections_killswitchevent": "connections_killswitch",
    "connections_maintenancewindowevent": "connections_maintenancewindow",
}
_ONE = """
SELECT e.pgh_created_at AS at, e.pgh_label AS operation, '{table}' AS relation,
  e.pgh_obj_id::text AS row_id, e.pgh_id AS number, e.pgh_context_id AS context_id,
  lag(c.columns) OVER (PARTITION BY e.pgh_obj_id ORDER BY e.pgh_id) AS before, c.columns AS after
FROM {former} e, LATERAL (SELECT to_jsonb(e) -
  '{{pgh_id,pgh_created_at,pgh_label,pgh_context_id,pgh_obj_id}}'::text[] AS columns) c"""
TAKE_OVER = """
INSERT INTO common_trailline
  (at, operation, relation, row_id, before, after, user_id, address, door, context, login)
SELECT at, operation, relation, coalesce(row_id, ''),
  CASE operation WHEN 'insert' THEN NULL WHEN 'delete' THEN after ELSE before END,
  CASE operation WHEN 'delete' THEN NULL ELSE after END,
  (c.metadata ->> 'user')::bigint, '', 'not recorded',
  coalesce(c.metadata - 'user', '{{}}') || '{{"program": "taken over"}}', ''
FROM ({all}) former LEFT JOIN pghistory_context c ON c.id = former.context_id
ORDER BY at, relation, number"""
ALL = " UNION ALL ".join(
    f"({_ONE.format(table=table, former=former)})" for former, table in FORMER.items()
)


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0001_schedules"),
        ("common", "0002_one_audit_trail"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("connections", "0026_least_of_an_exit"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("events", "0007_silent_connections"),
        ("pghistory", "0007_auto_20250421_0444"),
        ("signals", "0008_approval_triggers"),
        ("users", "0005_try_count"),
    ]
    operations = [
        migrations.RunSQL([TAKE_OVER.format(all=ALL)], migrations.RunSQL.noop),
        # Their numbers are given now: a table is not altered while it waits for the commit.
        migrations.RunSQL(["SET CONSTRAINTS ALL IMMEDIATE"], migrations.RunSQL.noop),
        *(track(table, secrets=secrets, ignored=ignored) for table, secrets, ignored in TRACKED),
        guard(),
    ]
