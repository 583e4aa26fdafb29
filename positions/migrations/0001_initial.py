"""Positions."""

from decimal import Decimal

from django.db import migrations, models

from common.db_functions import ClockTimestamp
from common.fields import AmountField
from common.row_security import MY_CONNECTION_BY_SUBSELECT, tenant_rows

# Levels of which a broker must be notified. The predicate of `positions/broker_levels.py DIFFERS_FROM_BROKER_SQL`, word
# for word; Django's conditions cannot say it.
LEVELS_INDEX = """
CREATE INDEX position_level_sync ON positions_executionposition (id) WHERE (
  protection_suspended AND (broker_sl IS NOT NULL OR broker_tp IS NOT NULL OR quantity > 0
    AND levels_reported_at IS NULL AND (sl_guardian = 'BROKER' OR tp_guardian = 'BROKER'))
  OR quantity > 0 AND NOT protection_suspended AND NOT levels_given_up AND (
    sl_guardian = 'BROKER' AND (coalesce(abs(sl - broker_sl) >= pip / 10,
      (sl IS NULL) <> (broker_sl IS NULL)) OR broker_sl_quantity <> quantity)
    OR coalesce(abs((CASE WHEN tp_guardian = 'BROKER' THEN tp END) - broker_tp) >= pip / 10,
      ((CASE WHEN tp_guardian = 'BROKER' THEN tp END) IS NULL) <> (broker_tp IS NULL))))
"""
# Few live rows in a large table: dead versions are removed after so many changes, not after a fifth of
# the table. Otherwise each query for what is due reads past all of them, most in an outage. Migration
# config 0014 has raised the 5,000 to 20,000.
VACUUM_OFTEN = """
ALTER TABLE positions_executionposition SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0)
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("connections", "0001_initial"), ("signals", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="ExecutionPosition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="positions",
                        to="connections.executionconnection",
                    ),
                ),
                (
                    "signal",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="positions", to="signals.signal"
                    ),
                ),
                ("pair", models.CharField(max_length=20)),
                ("symbol", models.CharField(max_length=40)),
                (
                    "side",
                    models.CharField(choices=[("BUY", "Buy"), ("SELL", "Sell")], max_length=4),
                ),
                ("quantity", AmountField()),
                ("reserved", AmountField(db_default=Decimal("0"), default=Decimal("0"))),
                ("opened_quantity", AmountField()),
                ("entry_price", AmountField()),
                ("sl", AmountField(null=True)),
                ("tp", AmountField(null=True)),
                ("tp_number", models.SmallIntegerField(db_default=1, default=1)),
                (
                    "sl_guardian",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "None"),
                            ("BROKER", "The broker holds it"),
                            ("ENGINE", "We monitor it"),
                        ],
                        db_default="",
                        default="",
                        max_length=6,
                    ),
                ),
                (
                    "tp_guardian",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "None"),
                            ("BROKER", "The broker holds it"),
                            ("ENGINE", "We monitor it"),
                        ],
                        db_default="",
                        default="",
                        max_length=6,
                    ),
                ),
                ("broker_sl", AmountField(null=True)),
                (
                    "broker_sl_quantity",
                    AmountField(
                        help_text="How much the broker's stop covers; NULL: all of it.", null=True
                    ),
                ),
                ("broker_tp", AmountField(null=True)),
                (
                    "levels_reported_at",
                    models.DateTimeField(
                        help_text="When the broker reported which levels it holds; NULL: not since a change.",
                        null=True,
                    ),
                ),
                (
                    "levels_given_up",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="The broker dropped a level twice: we monitor it.",
                    ),
                ),
                (
                    "levels_dropped_at",
                    models.DateTimeField(
                        help_text="When the broker last dropped a level, since a person or a signal moved one.",
                        null=True,
                    ),
                ),
                (
                    "level_sync_due_at",
                    models.DateTimeField(
                        help_text="When levels that the broker does not hold are sent (again).",
                        null=True,
                    ),
                ),
                ("level_sync_attempts", models.SmallIntegerField(db_default=0, default=0)),
                (
                    "protection_suspended",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="The broker's levels are removed for an exit.",
                    ),
                ),
                (
                    "breached_level",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The broker's level that the price has passed.",
                        max_length=2,
                    ),
                ),
                ("breached_since", models.DateTimeField(null=True)),
                (
                    "broker_check_due_at",
                    models.DateTimeField(
                        help_text="From then on the position is read at the broker.", null=True
                    ),
                ),
                (
                    "broker_quantity",
                    AmountField(
                        help_text="Its quantity at the broker at the last read.", null=True
                    ),
                ),
                (
                    "broker_checked_at",
                    models.DateTimeField(help_text="When that read began.", null=True),
                ),
                (
                    "broker_quantity_is_shared",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Parts of other positions or of open entries were deducted from that quantity.",
                    ),
                ),
                ("unprotected_since", models.DateTimeField(null=True)),
                (
                    "unprotected_reason",
                    models.CharField(blank=True, db_default="", default="", max_length=20),
                ),
                ("unprotected_alerted", models.BooleanField(db_default=False, default=False)),
                (
                    "unprotected_seconds",
                    models.DecimalField(
                        db_default=Decimal("0"),
                        decimal_places=1,
                        default=Decimal("0"),
                        help_text="Total machine time without its stop, without the current period.",
                        max_digits=12,
                    ),
                ),
                (
                    "broker_position_id",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                (
                    "price_source",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        to="connections.dataconnection",
                    ),
                ),
                ("pip", AmountField()),
                (
                    "conversion_rate",
                    AmountField(help_text="Account currency for one unit of the quote currency."),
                ),
                ("realized_pnl", AmountField(db_default=Decimal("0"), default=Decimal("0"))),
                (
                    "commission",
                    AmountField(
                        db_default=Decimal("0"),
                        default=Decimal("0"),
                        help_text="Account currency, without the fees that have no rate.",
                    ),
                ),
                (
                    "unconverted_fees",
                    models.JSONField(
                        blank=True,
                        db_default={},
                        default=dict,
                        help_text="Fees without a conversion rate, by currency; part of no total.",
                    ),
                ),
                (
                    "close_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("sl", "Stop loss"),
                            ("tp", "Take profit"),
                            ("manual", "Closed through us"),
                            ("external_close", "Closed by its owner at the broker"),
                            ("dust", "The rest is too small to sell"),
                        ],
                        db_default="",
                        default="",
                        max_length=14,
                    ),
                ),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "last_activity_at",
                    models.DateTimeField(
                        db_default=ClockTimestamp(),
                        help_text="Machine time of our last activity on it.",
                    ),
                ),
                (
                    "missing_since",
                    models.DateTimeField(
                        help_text="First clean read in which the broker did not have it.", null=True
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("quantity__gt", 0)),
                        fields=["connection"],
                        name="position_open",
                    ),
                    models.Index(
                        condition=models.Q(("quantity__gt", 0)),
                        fields=["signal"],
                        name="position_open_of_signal",
                    ),
                    models.Index(
                        condition=models.Q(("quantity__gt", 0)),
                        fields=["price_source", "pair"],
                        name="position_open_of_source",
                    ),
                    models.Index(fields=["closed_at"], name="position_closed_at"),
                    models.Index(
                        condition=models.Q(("broker_position_id", ""), _negated=True),
                        fields=["connection", "broker_position_id"],
                        name="position_of_ticket",
                    ),
                    models.Index(
                        condition=models.Q(("broker_check_due_at__isnull", False)),
                        fields=["broker_check_due_at"],
                        name="position_check_due",
                    ),
                    models.Index(
                        condition=models.Q(("breached_since__isnull", False)),
                        fields=["id"],
                        name="position_breached",
                    ),
                    models.Index(
                        condition=models.Q(("protection_suspended", True)),
                        fields=["id"],
                        name="position_suspended",
                    ),
                    models.Index(
                        condition=models.Q(
                            models.Q(("quantity__gt", 0)),
                            ("sl__isnull", False),
                            models.Q(
                                ("sl_guardian", ""),
                                models.Q(("broker_sl__isnull", True), ("sl_guardian", "BROKER")),
                                models.Q(
                                    ("broker_sl_quantity__lt", models.F("quantity")),
                                    ("sl_guardian", "BROKER"),
                                ),
                                _connector="OR",
                            ),
                        ),
                        fields=["id"],
                        name="position_without_stop",
                    ),
                    models.Index(
                        condition=models.Q(("unprotected_since__isnull", False)),
                        fields=["id"],
                        name="position_unprotected",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("quantity__gt", 0), ("side", "BUY"), ("sl__isnull", False)
                        ),
                        fields=["price_source", "pair", "sl"],
                        name="watch_buy_sl",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("quantity__gt", 0), ("side", "SELL"), ("sl__isnull", False)
                        ),
                        fields=["price_source", "pair", "sl"],
                        name="watch_sell_sl",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("quantity__gt", 0), ("side", "BUY"), ("tp__isnull", False)
                        ),
                        fields=["price_source", "pair", "tp"],
                        name="watch_buy_tp",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("quantity__gt", 0), ("side", "SELL"), ("tp__isnull", False)
                        ),
                        fields=["price_source", "pair", "tp"],
                        name="watch_sell_tp",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "signal"), name="one_position"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("reserved__gte", 0), ("reserved__lte", models.F("quantity"))
                        ),
                        name="reserved_within_quantity",
                    ),
                ],
            },
        ),
        tenant_rows("positions_executionposition", MY_CONNECTION_BY_SUBSELECT),
        migrations.RunSQL(LEVELS_INDEX),
        migrations.RunSQL(VACUUM_OFTEN),
    ]
