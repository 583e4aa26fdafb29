"""Changes of entries by a signal: they wait until the order can be changed."""

import django.db.models.deletion
from django.db import migrations, models

OPEN = models.Q(("state__in", ("REQUESTED", "SENT", "UNKNOWN")))
WAITING = models.Q(("state", "WAITING"))


class Migration(migrations.Migration):
    dependencies = [
        ("signals", "0014_conditions"),
        ("execution", "0018_condition_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="entrychange",
            name="signal",
            field=models.ForeignKey(
                db_index=False,
                help_text="The MODIFY signal that requested it.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="signals.signal",
            ),
        ),
        migrations.AlterField(
            model_name="entrychange",
            name="state",
            field=models.CharField(
                choices=[
                    ("WAITING", "Waits until the order can be changed"),
                    ("REQUESTED", "Requested"),
                    ("SENT", "Sent to the broker"),
                    ("UNKNOWN", "No answer yet; the order is read at the broker"),
                    ("DONE", "Done"),
                    ("REFUSED", "Not done"),
                ],
                db_default="REQUESTED",
                default="REQUESTED",
                max_length=9,
            ),
        ),
        migrations.RemoveConstraint(model_name="entrychange", name="change_done_has_time"),
        migrations.AddConstraint(
            model_name="entrychange",
            constraint=models.CheckConstraint(
                condition=(OPEN | WAITING) & models.Q(("done_at__isnull", True))
                | ~(OPEN | WAITING) & models.Q(("done_at__isnull", False)),
                name="change_done_has_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="entrychange",
            constraint=models.UniqueConstraint(
                condition=WAITING, fields=("order",), name="one_waiting_change"
            ),
        ),
    ]
