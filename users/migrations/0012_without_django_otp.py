"""The tables of django-otp go: nothing ever asked for its devices (users/second_factor.py does).

Databases that were made since this release have never had them.
"""

from django.db import migrations

APPS = "('otp_static', 'otp_totp')"
TYPES = f"(SELECT id FROM django_content_type WHERE app_label IN {APPS})"
PERMISSIONS = f"(SELECT id FROM auth_permission WHERE content_type_id IN {TYPES})"
REMOVE = (
    "DROP TABLE IF EXISTS otp_static_statictoken, otp_static_staticdevice, otp_totp_totpdevice",
    f"DELETE FROM auth_group_permissions WHERE permission_id IN {PERMISSIONS}",
    f"DELETE FROM users_user_user_permissions WHERE permission_id IN {PERMISSIONS}",
    f"DELETE FROM auth_permission WHERE content_type_id IN {TYPES}",
    f"DELETE FROM django_admin_log WHERE content_type_id IN {TYPES}",
    f"DELETE FROM django_content_type WHERE app_label IN {APPS}",
    f"DELETE FROM django_migrations WHERE app IN {APPS}",
)


class Migration(migrations.Migration):
    dependencies = [
        ("users", "0011_key_notices"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("config", "0006_key_notices"),
    ]
    operations = [migrations.RunSQL(REMOVE, migrations.RunSQL.noop)]
