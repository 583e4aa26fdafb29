"""Which process listens to an account's order stream, and how the stream is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0039_poll_wakes")]

    operations = [
        migrations.AddField(
            model_name="accountsyncstate",
            name="stream_holder",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The process (WorkerLease) that listens to its order stream; empty:"
                " none.",
                max_length=80,
            ),
        ),
        migrations.AddField(
            model_name="accountsyncstate",
            name="stream_since",
            field=models.DateTimeField(
                help_text="From when on its order stream delivers; null: it does not.", null=True
            ),
        ),
        migrations.AddField(
            model_name="accountsyncstate",
            name="stream_error",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Why its order stream does not deliver.",
                max_length=300,
            ),
        ),
    ]
