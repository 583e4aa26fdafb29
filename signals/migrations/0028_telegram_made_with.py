"""What an API key set up of a Telegram bot ends with the key."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0027_indexes_by_feed"),
        ("users", "0008_keys_made_with_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="telegrambot",
            name="forward_from_made_with",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="The API key that set forward_from: those chats count no more once it has ended.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="users.apikey",
            ),
        ),
        migrations.AddField(
            model_name="telegrambot",
            name="made_with",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="The API key that set its token: it is not read once that has ended.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="users.apikey",
            ),
        ),
        migrations.AddField(
            model_name="telegramchat",
            name="made_with",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="The API key that allowed it: it is allowed no more once that has ended.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="users.apikey",
            ),
        ),
    ]
