"""Which lane a connection is in, and who holds which lane."""

from typing import Any

from django.db import migrations, models

from common.row_security import shared_rows
from connections.lanes import lane_for


def give_lanes(apps: Any, _: Any) -> None:
    """Each connection of a broker with sessions gets its lane."""
    found = apps.get_model("connections", "ExecutionConnection").objects
    for one in found.exclude(type="paper").only("id", "type", "account", "settings"):
        if lane := lane_for(one.type, one.pk, one.account, one.settings):
            found.filter(pk=one.pk).update(lane=lane)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0009_maintenance_windows"),
    ]

    operations = [
        migrations.CreateModel(
            name="LaneLease",
            fields=[
                ("lane", models.CharField(max_length=64, primary_key=True, serialize=False)),
                (
                    "owner",
                    models.CharField(
                        help_text="A trading process, as in its own lease.", max_length=80
                    ),
                ),
                ("fence", models.BigIntegerField(db_default=1, default=1)),
                (
                    "taken_at",
                    models.DateTimeField(help_text="No comparison that began before counts."),
                ),
                ("until", models.DateTimeField(help_text="By the database's clock.")),
            ],
        ),
        migrations.RemoveField(
            model_name="connectionhealth",
            name="lane_owner",
        ),
        migrations.AddField(
            model_name="executionconnection",
            name="lane",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="Which worker speaks to it: empty for any, else a queue's name.",
                max_length=64,
            ),
        ),
        migrations.RunPython(give_lanes, migrations.RunPython.noop),
        shared_rows("connections_lanelease"),
    ]
