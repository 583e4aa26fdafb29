"""Keys that were made with a key end with it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("users", "0007_sets_of_tenants"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="made_with",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="The API key that it was made with: it is revoked with that one.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="made_keys",
                to="users.apikey",
            ),
        ),
    ]
