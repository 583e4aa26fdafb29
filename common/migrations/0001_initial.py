"""The database roles, before any table, and the audit trail's tables and functions."""

from django.db import migrations, models

from common.audit_trail_sql import install
from common.migration_sql import run_file


class Migration(migrations.Migration):
    initial = True
    run_before = [("contenttypes", "0001_initial")]
    dependencies = []

    operations = [
        run_file(__file__, "roles.sql"),
        migrations.CreateModel(
            name="TrailLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "number",
                    models.BigIntegerField(
                        help_text="Without gaps, by commit.", null=True, unique=True
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "operation",
                    models.CharField(
                        choices=[
                            ("insert", "Created"),
                            ("update", "Changed"),
                            ("delete", "Removed"),
                        ],
                        max_length=6,
                    ),
                ),
                ("relation", models.CharField(max_length=63)),
                ("row_id", models.TextField()),
                (
                    "before",
                    models.JSONField(help_text="Changed columns, or the removed row.", null=True),
                ),
                (
                    "after",
                    models.JSONField(help_text="Changed columns, or the new row.", null=True),
                ),
                ("user_id", models.BigIntegerField(null=True)),
                (
                    "address",
                    models.TextField(
                        blank=True, default="", help_text="The caller's network address."
                    ),
                ),
                (
                    "origin",
                    models.TextField(
                        help_text="API, portal, console, alert, command, task or database."
                    ),
                ),
                ("context", models.JSONField(default=dict)),
                (
                    "login",
                    models.TextField(
                        help_text="The database login, and the role that it worked as."
                    ),
                ),
                ("hash", models.CharField(max_length=64, null=True)),
            ],
            options={
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["relation", "row_id"], name="trail_of_a_row"),
                    models.Index(
                        condition=models.Q(("number__isnull", True)),
                        fields=["id"],
                        name="trail_unnumbered",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TrailHead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("lines", models.BigIntegerField()),
                ("hash", models.CharField(blank=True, max_length=64)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="TrailCheckpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("number", models.BigIntegerField()),
                ("hash", models.CharField(max_length=64)),
                ("signature", models.TextField()),
            ],
            options={"default_permissions": ()},
        ),
        # Only triggers write lines of the trail; config/migrations has the triggers on tables.
        *install(),
    ]
