"""Daily results: one row for each connection and trading day, which can be added up."""

from decimal import Decimal

from django.db import models

from analytics.rollup import Rollup
from common.db_functions import ClockTimestamp
from common.fields import AmountField
from connections.models import ExecutionConnection


class AnalyticsDaily(models.Model):
    """The result of the positions closed on one trading day, in the account's currency.

    Days can be combined into any range (`Rollup`, docs/analytics.md); win rate, profit factor and
    average duration are computed from the combined row.
    """

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="analytics", db_index=False
    )
    day = models.DateField(help_text="Trading day in the preset's zone; it ends at 17:00 there.")
    trades = models.IntegerField(default=0)
    wins = models.IntegerField(default=0)
    losses = models.IntegerField(default=0)
    gross_profit = AmountField(default=Decimal(0))
    gross_loss = AmountField(default=Decimal(0), help_text="A positive number.")
    commission = AmountField(default=Decimal(0))
    unconverted_fees = models.JSONField(
        default=dict, db_default={}, blank=True,
        help_text="Fees for which no rate was quoted, by currency; in no sum.",
    )  # fmt: skip
    total_pnl = AmountField(default=Decimal(0), help_text="Net of commission.")
    highest_prefix = AmountField(default=Decimal(0))
    lowest_prefix = AmountField(default=Decimal(0))
    max_drawdown = AmountField(default=Decimal(0), help_text="A positive number.")
    duration_seconds = AmountField(default=Decimal(0), help_text="Of all trades together.")
    computed_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-day", "connection_id")
        verbose_name_plural = "analytics (daily)"
        constraints = [
            models.UniqueConstraint(fields=["connection", "day"], name="one_row_a_day"),
        ]
        indexes = [models.Index(fields=["day"], name="analytics_day")]

    def __str__(self) -> str:
        return f"{self.connection_id} {self.day}"

    @property
    def rollup(self) -> Rollup:
        """The day as a `Rollup`, which can be combined with other days."""
        return Rollup(
            trades=self.trades,
            wins=self.wins,
            losses=self.losses,
            gross_profit=self.gross_profit,
            gross_loss=self.gross_loss,
            commission=self.commission,
            total=self.total_pnl,
            highest=self.highest_prefix,
            lowest=self.lowest_prefix,
            drawdown=self.max_drawdown,
            duration_seconds=self.duration_seconds,
        )

    @property
    def win_rate(self) -> Decimal | None:
        """Winning trades / trades, None without trades."""
        return self.rollup.win_rate

    @property
    def profit_factor(self) -> Decimal | None:
        """Gross profit / gross loss, None without a loss."""
        return self.rollup.profit_factor

    @property
    def average_duration_seconds(self) -> Decimal | None:
        """Average time from open to close; None without trades."""
        return self.rollup.average_duration_seconds
