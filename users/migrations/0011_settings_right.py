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

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
