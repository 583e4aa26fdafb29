"""Which position an entry fills; the constraint is judged for new rows at once."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("execution", "0019_signal_changes")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="position_leg",
            field=models.CharField(
                db_default="entry",
                default="entry",
                help_text="Of an entry: the leg whose position it fills. Its own if it is a slice"
                " on a hedging account.",
                max_length=16,
            ),
        ),
        AddConstraintNotValid(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=Q(position_leg="entry") | Q(position_leg=F("leg")),
                name="fills_position_of_its_leg",
            ),
        ),
    ]
