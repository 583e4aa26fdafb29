from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("positions", "0009_levels_as_the_broker_tells_them")]

    operations = [
        migrations.AddField(
            model_name="executionposition",
            name="held_is_shared",
            field=models.BooleanField(
                default=False,
                db_default=False,
                help_text="Shares of other positions or of open entries were taken off that"
                " quantity.",
            ),
        ),
    ]
