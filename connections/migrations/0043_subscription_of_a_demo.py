from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0042_account_is_demo"),
    ]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="demo_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Entries are sent only while the account has virtual money (sample"
                " orders).",
            ),
        ),
    ]
