from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("paper", "0005_what_is_wrong_in_words")]
    operations = [
        migrations.AddField(
            "paperaccount",
            "drops_levels",
            models.BooleanField(
                default=False,
                help_text="Fault: orders and changes are taken, and their stops and targets fall"
                " away.",
            ),
        ),
    ]
