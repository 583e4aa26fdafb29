from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0029_vacuum_often"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="pending_action_since",
            field=models.DateTimeField(
                help_text="Since when its broker is to be asked to cancel it.",
                null=True,
            ),
        ),
    ]
