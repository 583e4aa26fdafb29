"""What the models of `users` do not say: database roles, who reaches which rows, guards."""

from django.db import migrations

from common.db.migration_sql import run_file
from common.db.row_security import (
    MINE,
    TENANT,
    TRADE,
    WEB,
    operator_rows,
    shared_rows,
    tenant_rows,
    tenant_set,
)

# common/permissions.py as it was when this was written; tests/users/test_permissions.py compares them.
READ = ("read_everything",)
KILL_SWITCH = ("set_kill_switch", "release_kill_switch")
OPERATORS = (
    *READ, *KILL_SWITCH, "publish_signals", "approve_signals", "manage_feeds", "trade",
    "retry_orders", "decide_differences", "manage_connections", "replace_credentials",
    "manage_price_sources", "share_price_sources", "push_prices", "manage_maintenance",
    "manage_paper_broker",
)  # fmt: skip
ALL = (
    *OPERATORS, "change_limits", "manage_schedules", "change_settings", "manage_users",
    "manage_api_keys",
)  # fmt: skip
ROLES = {
    "administrator": ALL,
    "operator": OPERATORS,
    "risk officer": (*READ, *KILL_SWITCH, "change_limits"),
    "support": READ,
}
# The trade role gives no rights and sets no passwords: pages and the owner's commands do.
RIGHTS = (
    "users_user_groups, users_user_user_permissions, auth_group, auth_group_permissions,"
    " auth_permission"
)
WRITTEN = "last_login, ran_preflight"  # by workers; one column lets them lock the row, too
OF_MY_KEY = "key_id IN (SELECT public.fillcast_my_keys())"
OF_MY_EXPORT = "export_id IN (SELECT public.fillcast_my_exports())"


def add_roles(apps, schema_editor):
    """Write a group for each role of staff, with its rights."""
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    ContentType = apps.get_model("contenttypes", "ContentType")
    of_users, _ = ContentType.objects.get_or_create(app_label="users", model="user")
    rights = {
        name: Permission.objects.get_or_create(
            content_type=of_users, codename=name, defaults={"name": name.replace("_", " ")}
        )[0]
        for name in ALL
    }
    for name, may in ROLES.items():
        Group.objects.create(name=name).permissions.set([rights[one] for one in may])


BEFORE = [run_file(__file__, "roles.sql")]  # what is created from here on is granted to them
OPERATIONS = [
    tenant_set(
        "fillcast_my_keys",
        "SETOF bigint",
        f"SELECT own.id FROM public.users_apikey own WHERE own.user_id = {TENANT}",
    ),
    tenant_set(
        "fillcast_my_exports",
        "SETOF bigint",
        f"SELECT own.id FROM public.users_dataexport own WHERE own.user_id = {TENANT}",
    ),
    # A visitor may add a user without rights: that is what signing up is (guards.sql).
    tenant_rows(
        "users_user",
        f"id = {TENANT}",
        read="true",
        add=f"{TENANT} IS NULL AND NOT is_staff AND NOT is_superuser",
    ),
    tenant_rows("users_apikey", MINE),
    tenant_rows("users_apikeynetwork", OF_MY_KEY),
    operator_rows("users_apikeynotice"),
    # Read before the user is known: a hidden one would look as if there were none.
    tenant_rows("users_secondfactor", MINE, read="true"),
    tenant_rows("users_recoverycode", MINE),
    shared_rows("users_trycount", writable=True),  # counted before the user is known
    shared_rows("users_loginsession", writable=True),
    operator_rows("users_invitation"),
    operator_rows("users_accountmail", add=True),
    tenant_rows("users_dataexport", MINE),
    tenant_rows("users_dataexportpart", OF_MY_EXPORT, add="false"),
    # The web role reads that the audit trail is broken, and cannot end that alarm.
    operator_rows("users_trailstatus"),
    migrations.RunSQL(f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON users_trailstatus FROM {WEB}"),
    *(
        shared_rows(table)
        for table in (
            "auth_group", "auth_group_permissions", "auth_permission", "django_content_type",
            "users_user_groups", "users_user_user_permissions",
        )
    ),
    run_file(__file__, "guards.sql"),
    migrations.RunPython(add_roles),
    migrations.RunSQL(
        [
            f"REVOKE INSERT, UPDATE, DELETE ON {RIGHTS} FROM {TRADE}",
            f"REVOKE INSERT, UPDATE, DELETE ON users_user FROM {TRADE}",
            f"GRANT UPDATE ({WRITTEN}) ON users_user TO {TRADE}",
        ]
    ),
]  # fmt: skip
