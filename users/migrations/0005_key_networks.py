"""The networks that API keys were used from."""

import django.db.models.deletion
from django.db import migrations, models

from common.row_security import tenant_rows

OF_MINE = "key_id IN (SELECT mine.id FROM users_apikey mine)"  # itself under its policy


class Migration(migrations.Migration):
    dependencies = [
        ("users", "0004_first_steps"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiKeyNetwork",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("network", models.CharField(max_length=50)),
                ("first_used_at", models.DateTimeField(auto_now_add=True)),
                ("last_used_at", models.DateTimeField(auto_now_add=True)),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="networks",
                        to="users.apikey",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("key", "network"), name="one_network_of_a_key")
                ],
            },
        ),
        tenant_rows("users_apikeynetwork", OF_MINE),
    ]
