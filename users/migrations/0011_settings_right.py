"""Administrators may change the operational settings."""

from django.db import migrations

RIGHT = "change_settings"
ROLE = "administrator"


def add(apps, schema_editor):
    """Write the right, and give it to the role."""
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="users", model="user"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type, codename=RIGHT, defaults={"name": RIGHT.replace("_", " ")}
    )
    group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=ROLE)
    group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("users", "0010_rights_are_given_on_pages")]

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
                    ("change_settings", "change settings"),
                    ("manage_users", "manage users"),
                    ("manage_api_keys", "manage api keys"),
                ],
                "verbose_name": "user",
                "verbose_name_plural": "users",
            },
        ),
        migrations.RunPython(add, migrations.RunPython.noop),
    ]
    safe_beside_released_code = {
        "RunPython add": "it adds a right to a role; the released code asks for no such right"
    }
