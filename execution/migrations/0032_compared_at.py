from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0031_lookup_claimed_until")]

    operations = [
        migrations.AddField(
            model_name="accountreading",
            name="compared_at",
            field=models.DateTimeField(
                null=True,
                help_text="When the last comparison began that answered a request for one.",
            ),
        ),
    ]
