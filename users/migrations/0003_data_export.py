"""Archives of users' data."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from common.row_security import MINE, TENANT, tenant_rows

OF_MINE = f"export_id IN (SELECT id FROM users_dataexport WHERE user_id = {TENANT})"


class Migration(migrations.Migration):
    dependencies = [
        ("users", "0002_sign_up"),
    ]

    operations = [
        migrations.CreateModel(
            name="DataExport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Being made"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("requested_at", models.DateTimeField(auto_now_add=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("tables_done", models.PositiveSmallIntegerField(default=0)),
                ("tables_total", models.PositiveSmallIntegerField(default=0)),
                ("rows_done", models.BigIntegerField(default=0)),
                ("size", models.BigIntegerField(default=0, help_text="Of the archive, in bytes.")),
                ("ready_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(db_index=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="data_exports",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="DataExportPart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                (
                    "export",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parts",
                        to="users.dataexport",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("export", "number"), name="one_part_of_an_archive"
                    )
                ],
            },
        ),
        tenant_rows("users_dataexport", MINE),
        tenant_rows("users_dataexportpart", OF_MINE, add="false"),
    ]
