"""The trade role gives no rights and sets no passwords: pages and the owner's commands do."""

from django.db import migrations

from common.row_security import TRADE

RIGHTS = (
    "users_user_groups, users_user_user_permissions, auth_group, auth_group_permissions,"
    " auth_permission"
)
WRITTEN = "last_login, ran_preflight"  # by workers; one column lets them lock the row, too


class Migration(migrations.Migration):
    dependencies = [("users", "0009_guard_of_made_with")]

    operations = [
        migrations.RunSQL(
            [
                f"REVOKE INSERT, UPDATE, DELETE ON {RIGHTS} FROM {TRADE}",
                f"REVOKE INSERT, UPDATE, DELETE ON users_user FROM {TRADE}",
                f"GRANT UPDATE ({WRITTEN}) ON users_user TO {TRADE}",
            ],
            [f"GRANT INSERT, UPDATE, DELETE ON users_user, {RIGHTS} TO {TRADE}"],
        )
    ]
