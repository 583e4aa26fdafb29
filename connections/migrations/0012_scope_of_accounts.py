"""Among which accounts of a kind a number names one: a server's, a folder's, an owner's."""

from typing import Any

from django.db import migrations, models

from connections.account_settings import scope_of


def give_scopes(apps: Any, _: Any) -> None:
    """Each connection of a kind whose numbers are not the only ones gets its scope."""
    found = apps.get_model("connections", "ExecutionConnection").objects
    for one in found.exclude(type="paper").only("id", "type", "settings", "user_id", "admin_id"):
        if scope := scope_of(one.type, one.user_id or one.admin_id, one.settings):
            found.filter(pk=one.pk).update(account_scope=scope)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0011_index_of_lanes"),
    ]

    operations = [
        migrations.AddField(
            model_name="executionconnection",
            name="account_scope",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="Among which accounts of the kind that names one; empty: among all.",
                max_length=120,
            ),
        ),
        migrations.RunPython(give_scopes, migrations.RunPython.noop),
    ]
