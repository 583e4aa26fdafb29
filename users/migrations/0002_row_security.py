"""Row-level security of users, and of the tables that other packages bring."""

from django.db import migrations

from common.row_security import MINE, TENANT, operator_rows, shared_rows, tenant_rows

# Read before anybody is known: who logs in, by which session, and how often it failed.
BEFORE_LOGIN = ("django_session",)
SHARED = (
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "django_content_type",
    "users_user_groups",
    "users_user_user_permissions",
)
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


class Migration(migrations.Migration):
    dependencies = [
        ("users", "0001_initial"),
        ("common", "0001_roles"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
        ("sessions", "0001_initial"),
    ]
    operations = [
        tenant_rows("users_user", f"id = {TENANT}", read="true", add="false"),
        tenant_rows("users_apikey", MINE),
        *(shared_rows(table, writable=True) for table in BEFORE_LOGIN),
        *(shared_rows(table) for table in SHARED),
        *(operator_rows(table) for table in OPERATORS),
    ]
