"""Channels remember the API key that added them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0013_key_made"),
        ("users", "0008_keys_made_with_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="made_with",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="The API key that added it. It outlives the key: its owner may switch it off.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="users.apikey",
            ),
        ),
    ]
