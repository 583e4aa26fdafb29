"""A worker of several lanes names them all."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0014_reading_of_each_account"),
    ]

    operations = [
        migrations.AlterField(
            model_name="workerlease",
            name="role",
            field=models.CharField(help_text="Its queues, joined by +.", max_length=400),
        ),
    ]
