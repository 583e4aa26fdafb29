"""One more kind of what was dropped: spans that did not reach the collector of traces."""

from django.db import migrations, models

NAMES = [
    ("message.malformed", "Message that is no list of ids"),
    ("message.unknown_ids", "Order in a message that does not exist"),
    ("message.ended", "Order in a message that had ended"),
    ("message.unknown_task", "Message for a task that does not exist"),
    ("report.unknown_connection", "Report about an unknown connection"),
    ("row.unreadable", "Row of a broker's list that cannot be read"),
    ("trace.span", "Span that did not reach the collector of traces"),
    ("report.archived_order", "Report that repeats how an archived order ended"),
]


class Migration(migrations.Migration):
    dependencies = [("execution", "0054_watchdog_ping")]

    operations = [
        migrations.AlterField(
            model_name="droppedmessagecount",
            name="name",
            field=models.CharField(choices=NAMES, max_length=40),
        ),
    ]
