"""Whether a user has hidden the first steps of the portal's overview."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("users", "0003_data_export")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="hides_first_steps",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="The overview of the portal does not show the first steps.",
            ),
        ),
    ]
