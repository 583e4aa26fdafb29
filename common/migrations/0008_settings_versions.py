"""The versions of the operational settings: all processes read them, rows are only added."""

from django.db import migrations, models

from common.db_functions import ClockTimestamp
from common.row_security import append_only, shared_rows

TABLE = "common_settingsversion"


class Migration(migrations.Migration):
    dependencies = [("common", "0007_disk")]

    operations = [
        migrations.CreateModel(
            name="SettingsVersion",
            fields=[
                ("id", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("document", models.JSONField()),
                ("made_at", models.DateTimeField(db_default=ClockTimestamp())),
                ("user_id", models.BigIntegerField(null=True)),
                ("username", models.CharField(blank=True, max_length=150)),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("console", "Console"),
                            ("api", "API"),
                            ("command", "Command"),
                            ("central", "Central source"),
                        ],
                        max_length=8,
                    ),
                ),
                ("why", models.CharField(max_length=500)),
                (
                    "restored",
                    models.PositiveIntegerField(
                        help_text="The version that it repeats.", null=True
                    ),
                ),
                ("source_digest", models.CharField(blank=True, max_length=64)),
            ],
            options={"default_permissions": ()},
        ),
        shared_rows(TABLE),  # a tenant's request is limited by them, too; operators add
        append_only(TABLE),
    ]
