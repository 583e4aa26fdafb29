"""Administrators and operators, and owners of sources, may push prices; keys have a scope for it."""

from django.db import migrations, models

RIGHT = "push_prices"
ROLES = ("administrator", "operator")


def add(apps, schema_editor):
    """Write the right, and give it to the roles."""
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="users", model="user"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type, codename=RIGHT, defaults={"name": RIGHT.replace("_", " ")}
    )
    for role in ROLES:
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=role)
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [
        ("users", "0011_settings_right"),
    ]

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
                    ("push_prices", "push prices"),
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
        migrations.RemoveConstraint(
            model_name="apikey",
            name="a_key_has_known_scopes",
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("scopes__contained_by", ["read", "trade", "publish", "operate", "prices"]),
                    ("scopes__len__gt", 0),
                ),
                name="a_key_has_known_scopes",
            ),
        ),
        migrations.RunPython(add, migrations.RunPython.noop),
    ]
    safe_beside_released_code = {
        "RunPython add": "it adds a right to roles; the released code asks for no such right",
        "AddConstraint a_key_has_known_scopes": "it allows one scope more; users have few keys",
    }
