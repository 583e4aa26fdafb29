"""Metrics of buses, for `/metrics`."""

from common.process.metrics import Gauge

GAUGES = (
    Gauge("bus_lag_seconds", "Age of the oldest event that a bus may lack.", ("bus",), """
SELECT name, extract(epoch FROM greatest(clock_timestamp() - read_to, interval '0')) AS value
FROM buses_bussink"""),
    Gauge("bus_failures", "Failures of a bus since its last success.", ("bus",), """
SELECT name, failures AS value FROM buses_bussink"""),
    Gauge("bus_delivered", "Events that a bus has confirmed.", ("bus",), """
SELECT name, delivered AS value FROM buses_bussink"""),
    Gauge("bus_paused", "Whether an operator has paused a bus, or what comes in by one.",
          ("bus",), """
SELECT name, (paused_at IS NOT NULL)::int AS value FROM buses_bussink
UNION ALL SELECT name, (paused_at IS NOT NULL)::int FROM buses_buslane WHERE ended_at IS NULL"""),
    Gauge("bus_dead_letters", "Events that a bus refused and that were not sent again.", ("bus",),
          """
SELECT s.name, count(d.id) AS value FROM buses_bussink s
LEFT JOIN buses_deadletter d ON d.sink_id = s.id AND d.replayed_at IS NULL GROUP BY s.name"""),
    Gauge("bus_not_received_seconds", "Time since what comes in by a bus was last received.",
          ("bus",), """
SELECT name, extract(epoch FROM greatest(
  clock_timestamp() - greatest(polled_at, created_at), interval '0')) AS value
FROM buses_buslane WHERE ended_at IS NULL AND paused_at IS NULL"""),
    Gauge("bus_incoming_dead_letters", "Messages of a bus that were not carried out.", ("bus",), """
SELECT bus AS name, count(*) AS value FROM buses_busmessage WHERE state = 'DEAD' GROUP BY bus"""),
)  # fmt: skip
