"""Break-even and trailing rules of positions."""

import django.db.models.deletion
from django.db import migrations, models

import common.db_functions
import common.fields
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows

MY_POSITION = f"position_id IN (SELECT id FROM positions_executionposition WHERE {MY_CONNECTION_BY_SUBSELECT})"
WEB_ONLY_MAKES_DUE = """
REVOKE UPDATE, DELETE ON positions_stoprule FROM fillcast_web;
GRANT UPDATE (due_at) ON positions_stoprule TO fillcast_web
"""
# A change of what a rule depends on makes it due. A move by the rule itself does not: it has
# stored the stop that it has set.
DUE_AFTER_CHANGES = """
CREATE FUNCTION positions_stoprule_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE positions_stoprule SET due_at = clock_timestamp()
  WHERE position_id = NEW.id AND (known_stop IS DISTINCT FROM NEW.sl
    OR OLD.sl IS NOT DISTINCT FROM NEW.sl);
  RETURN NULL;
END $$;
CREATE TRIGGER positions_stoprule_due
AFTER UPDATE ON positions_executionposition FOR EACH ROW
WHEN ((OLD.sl, OLD.entry_price, OLD.tp_number, OLD.quantity = 0)
  IS DISTINCT FROM (NEW.sl, NEW.entry_price, NEW.tp_number, NEW.quantity = 0))
EXECUTE FUNCTION positions_stoprule_due()
"""
VACUUM_OFTEN = """
ALTER TABLE positions_stoprule SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0013_stop_rules"),
        ("positions", "0001_initial"),
        ("signals", "0007_stop_rules"),
    ]

    operations = [
        migrations.CreateModel(
            name="StopRule",
            fields=[
                (
                    "position",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="stop_rule",
                        serialize=False,
                        to="positions.executionposition",
                    ),
                ),
                (
                    "break_even_origin",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "No rule"),
                            ("SIGNAL", "The signal"),
                            ("SUBSCRIPTION", "The subscription"),
                            ("PRESET", "The preset"),
                        ],
                        db_default="",
                        default="",
                        max_length=12,
                    ),
                ),
                ("break_even_target", models.SmallIntegerField(null=True)),
                ("break_even_profit", common.fields.AmountField(null=True)),
                ("break_even_offset", common.fields.AmountField(null=True)),
                (
                    "break_even_unit",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("PIPS", "Pips"),
                            ("TICKS", "Ticks"),
                            ("BPS", "Basis points"),
                            ("PERCENT", "Percent"),
                            ("PRICE", "Price"),
                        ],
                        db_default="",
                        default="",
                        max_length=7,
                    ),
                ),
                ("break_even_done", models.BooleanField(db_default=False, default=False)),
                (
                    "trailing_origin",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "No rule"),
                            ("SIGNAL", "The signal"),
                            ("SUBSCRIPTION", "The subscription"),
                            ("PRESET", "The preset"),
                        ],
                        db_default="",
                        default="",
                        max_length=12,
                    ),
                ),
                ("trailing_distance", common.fields.AmountField(null=True)),
                ("trailing_step", common.fields.AmountField(null=True)),
                ("trailing_activation", common.fields.AmountField(null=True)),
                (
                    "trailing_unit",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("PIPS", "Pips"),
                            ("TICKS", "Ticks"),
                            ("BPS", "Basis points"),
                            ("PERCENT", "Percent"),
                            ("PRICE", "Price"),
                        ],
                        db_default="",
                        default="",
                        max_length=7,
                    ),
                ),
                (
                    "min_seconds",
                    models.SmallIntegerField(
                        db_default=5, default=5, help_text="Least time between two moves."
                    ),
                ),
                (
                    "known_stop",
                    common.fields.AmountField(
                        help_text="The stop when the rule was judged last.", null=True
                    ),
                ),
                (
                    "water_mark",
                    common.fields.AmountField(
                        help_text="The best price that the rule has recorded.", null=True
                    ),
                ),
                ("water_mark_at", models.DateTimeField(null=True)),
                (
                    "resumes_beyond",
                    common.fields.AmountField(
                        help_text="A person or a signal has set the stop; trailing goes on beyond this price.",
                        null=True,
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        help_text="When it is judged again without a new price.", null=True
                    ),
                ),
                ("moves", models.IntegerField(db_default=0, default=0)),
                ("moved_at", models.DateTimeField(null=True)),
                (
                    "moved_by",
                    models.CharField(blank=True, db_default="", default="", max_length=10),
                ),
                ("moved_from", common.fields.AmountField(null=True)),
                ("moved_to", common.fields.AmountField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=common.db_functions.ClockTimestamp()),
                ),
            ],
        ),
        migrations.AddField(
            model_name="executionposition",
            name="stop_moves_at",
            field=common.fields.AmountField(
                help_text="The price from which its break-even or trailing rule acts.", null=True
            ),
        ),
        migrations.AddIndex(
            model_name="stoprule",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="stop_rule_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="stoprule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("break_even_target__isnull", False),
                    ("break_even_profit__isnull", False),
                    ("trailing_distance__gt", 0),
                    _connector="OR",
                ),
                name="stop_rule_has_effect",
            ),
        ),
        tenant_rows("positions_stoprule", MY_POSITION, add="false"),
        migrations.RunSQL(WEB_ONLY_MAKES_DUE),
        migrations.RunSQL(DUE_AFTER_CHANGES),
        migrations.RunSQL(VACUUM_OFTEN),
    ]
