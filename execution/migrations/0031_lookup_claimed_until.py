from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0030_pending_action_since"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="lookup_claimed_until",
            field=models.DateTimeField(
                help_text="Until when one process looks it up, and no other.",
                null=True,
            ),
        ),
    ]
