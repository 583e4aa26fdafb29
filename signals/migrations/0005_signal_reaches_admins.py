from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("signals", "0004_row_security")]

    operations = [
        migrations.AddField(
            model_name="signal",
            name="reaches_admins",
            field=models.BooleanField(
                db_default=True,
                default=True,
                editable=False,
                help_text="As its feed did when published.",
            ),
        ),
    ]
