"""The answers of POST requests that have an Idempotency-Key."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from common.row_security import MINE, tenant_rows


class Migration(migrations.Migration):
    dependencies = [
        ("common", "0002_trail_of_a_user"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="KeptAnswer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("operation", models.TextField(help_text="Method and path.")),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.CharField(max_length=64)),
                ("status", models.PositiveSmallIntegerField()),
                ("body", models.TextField(blank=True)),
                ("is_secret", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["created_at"], name="kept_answers_by_age")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "operation", "key"), name="one_answer_for_a_key"
                    )
                ],
            },
        ),
        tenant_rows("common_keptanswer", MINE),
    ]
