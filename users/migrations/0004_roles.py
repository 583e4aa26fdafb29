"""The roles of staff: groups, and what each may. The table is common/permissions.py; when it
changes, a new migration says so here (tests/users/test_permissions.py compares them)."""

from django.db import migrations

READ = ["read_everything"]
KILL_SWITCH = ["set_kill_switch", "release_kill_switch"]
OPERATORS = [
    *READ, *KILL_SWITCH, "publish_signals", "approve_signals", "manage_feeds", "trade", "retry_orders",
    "decide_differences", "manage_connections", "replace_credentials", "manage_price_sources",
    "share_price_sources", "manage_maintenance", "manage_paper_broker",
]
ALL = [*OPERATORS, "change_limits", "manage_schedules", "manage_users", "manage_api_keys"]
ROLES = {
    "administrator": ALL,
    "operator": OPERATORS,
    "risk officer": [*READ, *KILL_SWITCH, "change_limits"],
    "support": READ,
}


def add_roles(apps, schema_editor):
    """Write the groups. A group of an installation that has such a name already keeps its members
    and its permissions, but not the name: nobody gets a role by accident."""
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
        for earlier in Group.objects.filter(name=name):
            earlier.name = f"{name} (before roles)"
            earlier.save(update_fields=["name"])
        Group.objects.create(name=name).permissions.set([rights[one] for one in may])


def remove_roles(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [("users", "0003_audit_trail"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        migrations.AlterModelOptions(
            name="user",
            options={
                "permissions": [
                    ("read_everything", "read everything"),
                    ("publish_signals", "publish signals"),
                    ("approve_signals", "approve signals"),
                    ("manage_feeds", "manage feeds"),
                    ("trade", "trade"),
                    ("retry_orders", "retry orders"),
                    ("decide_differences", "decide differences"),
                    ("manage_connections", "manage connections"),
                    ("replace_credentials", "replace credentials"),
                    ("change_limits", "change limits"),
                    ("set_kill_switch", "set kill switch"),
                    ("release_kill_switch", "release kill switch"),
                    ("manage_price_sources", "manage price sources"),
                    ("share_price_sources", "share price sources"),
                    ("manage_maintenance", "manage maintenance"),
                    ("manage_paper_broker", "manage paper broker"),
                    ("manage_schedules", "manage schedules"),
                    ("manage_users", "manage users"),
                    ("manage_api_keys", "manage api keys"),
                ],
                "verbose_name": "user",
                "verbose_name_plural": "users",
            },
        ),
        migrations.RunPython(add_roles, remove_roles),
    ]
