"""Which credentials an account's identity was told of: they need not be asked whose they are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0018_identity"),
    ]

    operations = [
        migrations.AddField(
            model_name="executionconnection",
            name="identity_of",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="A digest of the sealed credentials that `identity` was told of; empty:"
                " of none.",
                max_length=64,
            ),
        ),
    ]
