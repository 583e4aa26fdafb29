"""Which target closed a position, and that a reversal did: names only, no change of the table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("positions", "0025_close_reasons_say_who"),
    ]

    operations = [
        migrations.AlterField(
            model_name="executionposition",
            name="close_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("sl", "Stop loss"),
                    ("trailing", "Trailing stop"),
                    ("break_even", "Stop at break-even"),
                    ("tp", "Take profit"),
                    ("target_1", "Target 1"),
                    ("target_2", "Target 2"),
                    ("target_3", "Target 3"),
                    ("target_4", "Target 4"),
                    ("target_5", "Target 5"),
                    ("target_6", "Target 6"),
                    ("target_7", "Target 7"),
                    ("target_8", "Target 8"),
                    ("target_9", "Target 9"),
                    ("target_10", "Target 10"),
                    ("time_exit", "Time exit"),
                    ("condition_exit", "Condition exit"),
                    ("signal", "Closed by its signal"),
                    ("reverse", "Reversed by its signal"),
                    ("owner", "Closed by its owner"),
                    ("operator", "Closed by an operator"),
                    ("kill_switch", "Kill switch"),
                    ("loss_limit", "Loss limit"),
                    ("manual", "Closed by hand"),
                    ("external_close", "Closed by its owner at the broker"),
                    ("dust", "The rest is too small to sell"),
                ],
                db_default="",
                default="",
                max_length=14,
            ),
        ),
    ]
