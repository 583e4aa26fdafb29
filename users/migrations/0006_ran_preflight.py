"""Whether a preflight of a user's account was ever computed: its row is kept for a day only."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("users", "0005_key_networks")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="ran_preflight",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text=(
                    "A preflight of one of their accounts was computed: one of the first steps."
                ),
            ),
        ),
    ]
