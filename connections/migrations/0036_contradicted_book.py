from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connections", "0035_provider_made_with")]

    operations = [
        migrations.AddField(
            model_name="instrumentbook",
            name="doubted_at",
            field=models.DateTimeField(null=True),
        ),
    ]
