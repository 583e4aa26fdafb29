"""Read an alert into a signal, an order about a symbol, or an update of an open trade. Pure."""

from alerts.reading.alerts import Alert, AlertOrder, AlertSignal, only_feed
from alerts.reading.document import ambiguous, read_alert

__all__ = ["Alert", "AlertOrder", "AlertSignal", "ambiguous", "only_feed", "read_alert"]
