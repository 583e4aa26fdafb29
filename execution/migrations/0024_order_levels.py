"""Stops and targets of one entry, instead of its signal's."""

from django.db import migrations

from common.fields import AmountField


class Migration(migrations.Migration):
    dependencies = [("execution", "0023_aggregate_index")]

    operations = [
        migrations.AddField(
            model_name="order",
            name="own_stop_loss",
            field=AmountField(
                help_text="Changed for this entry alone; NULL: the signal's stop counts.", null=True
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="own_take_profit",
            field=AmountField(
                help_text=("Changed for this entry alone, the first target; NULL: the signal's."),
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="entrychange",
            name="stop_loss",
            field=AmountField(help_text="Of the coming position; NULL: it stays.", null=True),
        ),
        migrations.AddField(
            model_name="entrychange",
            name="take_profit",
            field=AmountField(help_text="Its first target; NULL: it stays.", null=True),
        ),
        migrations.AddField(
            model_name="entrychange", name="old_stop_loss", field=AmountField(null=True)
        ),
        migrations.AddField(
            model_name="entrychange", name="old_take_profit", field=AmountField(null=True)
        ),
    ]
