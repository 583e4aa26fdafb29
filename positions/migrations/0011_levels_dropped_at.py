from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("positions", "0010_held_is_shared")]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="levels_dropped_at",
            field=models.DateTimeField(
                help_text="When the broker last dropped a level, since a person or a signal moved"
                " one.",
                null=True,
            ),
        ),
    ]
