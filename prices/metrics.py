"""Metrics of pushed quotes, for `/metrics`."""

from common.process.metrics import Gauge
from common.reason_codes import Code
from connections.selectors import has_no_price_sql

GAUGES = (
    Gauge("price_source_quotes_refused",
      "Quotes pushed to a price source that were refused, by reason, since it is known.",
      ("source", "code"), """
SELECT data_connection_id::text AS source, code, quotes AS value FROM prices_pushrefusal"""),
    Gauge("price_source_refused_seconds",
      "Seconds since a quote pushed to a price source was last refused; one that only came too late"
      " to be in order does not count.", ("source",), f"""
SELECT data_connection_id::text AS source,
  extract(epoch FROM clock_timestamp() - max(last_at)) AS value
FROM prices_pushrefusal WHERE code <> '{Code.QUOTE_OUT_OF_ORDER.value}' GROUP BY 1"""),
    Gauge("price_source_pairs_without_fallback",
      "Pairs of a price source that is silent, and whose fallback in use is silent too while their"
      " market is open: their stops do not fire.", ("source",), f"""
SELECT u.data_connection_id::text AS source, count(*) AS value FROM prices_fallbackuse u
WHERE {has_no_price_sql("u.data_connection_id", "u.symbol")} GROUP BY 1"""),
    Gauge("price_source_quotes_waiting",
      "Pushed quotes that the prices process has not published yet.", (), """
SELECT count(*) AS value FROM prices_pushedquote"""),
)  # fmt: skip
