"""What owners of API keys were notified of. Written by workers only."""

import django.db.models.deletion
from django.db import migrations, models

from common.row_security import operator_rows


class Migration(migrations.Migration):
    dependencies = [("users", "0010_trail_status")]
    operations = [
        migrations.CreateModel(
            name="ApiKeyNotice",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="end_notice",
                        serialize=False,
                        to="users.apikey",
                    ),
                ),
                ("stage", models.SmallIntegerField()),
                ("ends_at", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
        operator_rows("users_apikeynotice"),
    ]
