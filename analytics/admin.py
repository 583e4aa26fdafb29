"""Admin page of the daily results of each connection, read-only."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter

from analytics.models import AnalyticsDaily
from common.clocks import market_at
from common.currencies import money_places
from common.web.admin import ReadOnlyAdmin
from common.web.badges import amount
from common.web.formatting import age, gain, unconverted


@admin.register(AnalyticsDaily)
class AnalyticsDailyAdmin(ReadOnlyAdmin):
    """The result of the positions closed on each trading day, in the account's currency."""

    list_display = (
        "day",
        "connection",
        "trades",
        "won",
        "pnl",
        "drawdown",
        "win_rate_percent",
        "factor",
        "duration",
        "until",
    )
    list_filter = (("day", RangeDateFilter), ("connection", AutocompleteSelectFilter))
    list_select_related = ("connection__snapshot",)
    search_fields = ("connection__name", "=connection__account")
    ordering = ("-day", "connection_id")

    @admin.display(description="Counts until, UTC", ordering="computed_at")
    def until(self, row: AnalyticsDaily) -> str:
        """Return when the row was computed; positions closed later are not in it."""
        return f"{market_at(row.computed_at):%-d %b %H:%M:%S}"

    @admin.display(description="Won / lost")
    def won(self, row: AnalyticsDaily) -> SafeString:
        """Return the numbers of trades that won and lost."""
        return format_html('<span class="fc-n">{} / {}</span>', row.wins, row.losses)

    @admin.display(description="Result, net", ordering="total_pnl")
    def pnl(self, row: AnalyticsDaily) -> SafeString:
        """Return the net result, with the fees that it does not contain."""
        css = "fc-up" if row.total_pnl > 0 else "fc-down" if row.total_pnl < 0 else ""
        fees, currency = unconverted(row.unconverted_fees), row.connection.account_currency
        result = format_html('<span class="fc-n {}">{}</span>', css, gain(row.total_pnl, currency))
        return format_html("{}<small>{}</small>", result, fees) if fees else result

    @admin.display(description="Largest drawdown")
    def drawdown(self, row: AnalyticsDaily) -> SafeString:
        """Return the largest drawdown within the day."""
        return amount(row.max_drawdown, money_places(row.connection.account_currency))

    @admin.display(description="Win rate")
    def win_rate_percent(self, row: AnalyticsDaily) -> str:
        """Return winning trades / trades in percent."""
        return f"{row.win_rate * 100:.0f} %" if row.win_rate is not None else ""

    @admin.display(description="Profit factor")
    def factor(self, row: AnalyticsDaily) -> SafeString:
        """Return gross profit / gross loss."""
        return amount(row.profit_factor, 2)

    @admin.display(description="Average duration")
    def duration(self, row: AnalyticsDaily) -> str:
        """Return how long a position was open on average."""
        seconds = row.average_duration_seconds
        return age(float(seconds)) if seconds is not None else ""
