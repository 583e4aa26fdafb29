"""A row for each count, so that no flush waits for another's; old counts stay."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0012_index_of_what_was_concluded")]
    operations = [
        migrations.AlterField(
            model_name="tally",
            name="name",
            field=models.CharField(
                choices=[
                    ("message.malformed", "Message that is no list of ids"),
                    ("message.unknown_ids", "Order in a message that does not exist"),
                    ("message.ended", "Order in a message that had ended"),
                    ("message.unknown_task", "Message for a task that does not exist"),
                    ("report.nobodys", "Report about nobody's connection"),
                ],
                max_length=40,
            ),
        ),
        migrations.AddField(
            model_name="tally",
            name="id",
            field=models.BigAutoField(
                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
            ),
        ),
    ]
