"""Metrics of connections, lanes and halts, for `/metrics`."""

from common.process.metrics import Gauge
from connections.exposure import is_monitored_sql
from connections.health.host_circuit_breaker import OPEN_HOSTS
from connections.market_data.source_alarms import is_stopped_sql


# Of accounts that are monitored: no call goes to the hosts of others, and none finds one down.
def _hosts_sql(which: str = "true") -> str:
    return f"""
SELECT c.type AS broker, count(DISTINCT c.broker_host) AS value
FROM connections_executionconnection c WHERE {is_monitored_sql()} AND {which} GROUP BY c.type"""


def _hosts_down_sql() -> str:
    return _hosts_sql(f"c.broker_host IN ({OPEN_HOSTS})")


def _lanes_sql() -> str:
    return f"""
SELECT CASE WHEN l.until >= clock_timestamp() THEN 'yes' ELSE 'no' END AS held,
  count(DISTINCT c.lane) AS value
FROM connections_executionconnection c LEFT JOIN connections_lanelease l ON l.lane = c.lane
WHERE c.lane <> '' AND {is_monitored_sql()} GROUP BY 1"""


# Not `alarmed_at`: the process that writes it may be dead, and it is kept until prices come, also
# after all is closed.
def _stopped_sources_sql() -> str:
    return f"""
SELECT count(*) AS value FROM connections_sourcehealth h
JOIN connections_dataconnection d ON d.id = h.source_id WHERE {is_stopped_sql()}"""


GAUGES = (
    Gauge("lanes", "Lanes of broker sessions with an account that is switched on or has something"
        " open, by whether a process holds them.", ("held",), _lanes_sql),
    Gauge("kill_switches", "Kill switches that are set.", ("scope", "mode"), """
SELECT scope, mode, count(*) AS value FROM connections_killswitch
WHERE released_at IS NULL GROUP BY scope, mode"""),
    Gauge("epoch_open", "Whether a recovery epoch is open.", (), """
SELECT count(*) AS value FROM connections_epoch WHERE released_at IS NULL"""),
    Gauge("connections", "Connections that are switched on, by health; HOST_DOWN: in error while"
        " their broker's host does not answer.", ("status",), f"""
SELECT CASE WHEN h.status = 'ERROR' AND c.broker_host IN ({OPEN_HOSTS}) THEN 'HOST_DOWN'
  ELSE h.status END AS status, count(*) AS value FROM connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.is_active AND c.archived_at IS NULL GROUP BY 1"""),
    Gauge("circuits_open", "Circuit breakers that are open, of accounts and of hosts.", ("of",),
        f"""
SELECT 'account' AS of, count(*) AS value FROM connections_connectionhealth
WHERE circuit_open_until > clock_timestamp()
UNION ALL SELECT 'host', count(*) FROM ({OPEN_HOSTS}) o"""),
    Gauge("hosts", "Hosts of brokers that accounts need, by broker type.", ("broker",), _hosts_sql),
    Gauge("hosts_down", "Those of them that do not answer, by broker type.", ("broker",),
        _hosts_down_sql),
    Gauge("price_source_silent_seconds",
      "Seconds since the broker of a price source last confirmed a price.", ("source",), """
SELECT d.id::text AS source,
  extract(epoch FROM clock_timestamp() - coalesce(h.last_contact_at, d.created_at)) AS value
FROM connections_dataconnection d JOIN connections_sourcehealth h ON h.source_id = d.id
WHERE d.is_active"""),
    Gauge("price_source_pairs_suspect",
      "Pairs of a price source with a quote that is suspect for longer than a second: it fires"
      " nothing until another one confirms it.", ("source",), """
SELECT h.source_id::text AS source, cardinality(h.suspects) AS value FROM connections_sourcehealth h
JOIN connections_dataconnection d ON d.id = h.source_id WHERE d.is_active"""),
    Gauge("price_source_pairs_on_fallback",
      "Pairs of a price source that have the prices of its fallback now.", ("source",), """
SELECT h.source_id::text AS source, cardinality(h.on_fallback) AS value
FROM connections_sourcehealth h
JOIN connections_dataconnection d ON d.id = h.source_id WHERE d.is_active"""),
    Gauge("price_sources_alarmed", "Price sources that something open needs, and that stopped.",
        (), _stopped_sources_sql),
    Gauge("price_source_quotes_held_back",
      "Quotes of a price source that were far from the one before, since it is known.",
      ("source",), """
SELECT source_id::text AS source, held_back AS value FROM connections_sourcehealth"""),
)  # fmt: skip
