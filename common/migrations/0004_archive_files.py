"""The manifest of the archive; neither role of the application changes or deletes its rows."""

from django.db import migrations, models

import common.db_functions
from common.row_security import append_only, operator_rows


class Migration(migrations.Migration):
    dependencies = [("common", "0003_kept_answers")]

    operations = [
        migrations.CreateModel(
            name="ArchiveFile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=30)),
                ("path", models.CharField(max_length=200, unique=True)),
                ("sha256", models.CharField(max_length=64)),
                ("size", models.BigIntegerField(help_text="Bytes.")),
                (
                    "host",
                    models.CharField(help_text="Of the machine that wrote it.", max_length=100),
                ),
                ("rows", models.IntegerField()),
                ("first_id", models.BigIntegerField()),
                ("last_id", models.BigIntegerField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                (
                    "written_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
            ],
            options={
                "verbose_name": "archived file",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["kind", "first_id"], name="archive_of_kind")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("first_at__lte", models.F("last_at")),
                            ("first_id__lte", models.F("last_id")),
                            ("rows__gt", 0),
                        ),
                        name="archive_file_has_rows",
                    )
                ],
            },
        ),
        operator_rows("common_archivefile"),
        append_only("common_archivefile"),
    ]
