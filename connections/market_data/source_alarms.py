"""An alarm for a broker's source that stopped, while something open needs its prices.

While a fallback has a price of all its pairs, there is none; if that one stops too, there is one.

Without prices the engine fires no stop, target or trigger. A closed market is no alarm: its broker
has sent prices before, and states none as current. A stream that is open, silent and without an
error looks the same. That code stays when the process has died that follows the source, so its
death has an alarm of its own (NoPricesProcess, LanesNotHeld).
"""

from common.db.sql import run
from common.reason_codes import Code
from connections.exposure import is_priced_by_sql
from connections.market_data.source_status import last_price_sql
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL

SILENT_SECONDS = 45  # a price that was not confirmed for so long is no longer current
FALLBACK_SECONDS = 60  # until then a fallback that delivers stands in


def is_stopped_sql() -> str:
    """Return SQL for whether a source, `h` with its row `d`, has stopped and something needs it.

    One whose fallback stands in for all its pairs has not.
    """
    return f"""d.is_active AND h.error_code <> '{Code.MARKET_CLOSED.value}'
    AND coalesce(h.last_contact_at, h.failing_since, clock_timestamp())
      < clock_timestamp() - CASE WHEN d.fallback_id IS NULL THEN interval '{SILENT_SECONDS} s'
        ELSE interval '{FALLBACK_SECONDS} s' END
    AND NOT {_STOOD_IN_FOR} AND {is_priced_by_sql("d.id")}"""


# By the stored quotes, and not by what the prices process says of them: it may be dead.
_STOOD_IN_FOR = f"""(d.fallback_id IS NOT NULL AND h.pairs <> '{{}}' AND NOT EXISTS (
      SELECT FROM unnest(h.pairs) AS p(symbol)
      WHERE coalesce({last_price_sql("d.id", "p.symbol")}, '-infinity')
        <= clock_timestamp() - interval '{FALLBACK_SECONDS} s'))"""


def _lost_sql() -> str:
    return f"""
WITH silent AS (
  SELECT h.source_id, d.name, d.user_id, h.error_code, h.error,
    extract(epoch FROM clock_timestamp() - h.last_contact_at)::int AS seconds
  FROM connections_sourcehealth h JOIN connections_dataconnection d ON d.id = h.source_id
  WHERE h.alarmed_at IS NULL AND {is_stopped_sql()}
  ORDER BY h.source_id FOR NO KEY UPDATE OF h SKIP LOCKED
), alarmed AS (
  UPDATE connections_sourcehealth h SET alarmed_at = clock_timestamp()
  FROM silent s WHERE h.source_id = s.source_id
)
{INSERT_EVENTS_SQL}
SELECT '{EventKind.PRICES_LOST.value}', user_id, NULL, NULL, NULL, jsonb_build_object(
  'source', source_id, 'name', name, 'seconds', seconds, 'code', error_code, 'message', error)
FROM silent
"""


_BACK = f"""
WITH back AS (
  SELECT h.source_id, h.last_contact_at > h.alarmed_at AS has_prices, d.name, d.user_id,
    extract(epoch FROM clock_timestamp() - h.alarmed_at)::int + {SILENT_SECONDS} AS seconds
  FROM connections_sourcehealth h JOIN connections_dataconnection d ON d.id = h.source_id
  WHERE h.alarmed_at IS NOT NULL
    AND (h.last_contact_at > h.alarmed_at OR NOT d.is_active OR {_STOOD_IN_FOR})
  ORDER BY h.source_id FOR NO KEY UPDATE OF h SKIP LOCKED
), cleared AS (
  UPDATE connections_sourcehealth h SET alarmed_at = NULL
  FROM back b WHERE h.source_id = b.source_id
)
{INSERT_EVENTS_SQL}
SELECT '{EventKind.PRICES_BACK.value}', user_id, NULL, NULL, NULL, jsonb_build_object(
  'source', source_id, 'name', name, 'seconds', seconds)
FROM back WHERE has_prices
"""


def alarm_silent_sources() -> None:
    """Write an event for each source that has stopped or delivers again: once, however often it is
    called and by however many processes."""
    run(_lost_sql())
    run(_BACK)
