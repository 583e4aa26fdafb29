"""When stored times were last found to lie in the future, and how far."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0049_unread_fills")]

    operations = [
        migrations.AddField(
            model_name="levelscanheartbeat",
            name="clock_set_back_at",
            field=models.DateTimeField(
                help_text="When stored times were last found to lie in the future.", null=True
            ),
        ),
        migrations.AddField(
            model_name="levelscanheartbeat",
            name="clock_set_back_seconds",
            field=models.FloatField(help_text="How far they did.", null=True),
        ),
    ]
