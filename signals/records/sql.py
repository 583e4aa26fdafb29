"""The functions and triggers that seal a feed's record, as SQL. ADR 0040.

Publishing or cancelling a signal inserts one link, whatever wrote the signal: a trigger does it. So
does a result that becomes final: the app that computes it has the trigger on its table. At commit
each link gets the next number of its feed and the SHA-256 of the previous link's hash and
its own content, as the audit trail's lines do (common/db/audit_trail_sql.py). The head of a feed is
locked only for the time of a commit, so two publications of one feed neither fork nor reorder it.

The hashed form of a link's content must never change, or old links no longer verify. A new form
needs a new version, and both forms here.
"""

from django.db.migrations import RunSQL

from common.db.audit_trail_sql import LOCK_HEAD_IF_NEEDED
from common.db.row_security import TRADE, WEB, operator_rows

PUBLISHED = "kind IN ('OPEN', 'MODIFY', 'CLOSE')"
"""SQL for whether a link is a publication: else it is a cancellation or a result."""

LINKS, HEADS, ANCHORS = "signals_recordlink", "signals_recordhead", "signals_recordanchor"
STATUS = "signals_recordstatus"

# What of a signal is in its link: everything that decides what is traded, when and at what price.
TERMS = (
    "action", "refers_to_id", "currency_pair", "direction", "order_type", "open_price",
    "stop_price", "trail_distance", "trail_pips", "trail_percent", "trail_atr",
    "trail_atr_minutes", "activation_price", "not_before", "after_signal_id", "after_state",
    "close_at", "close_after_seconds", "close_when_signal_id", "close_when_state", "sl",
    "target_prices", "target_fractions", "close_fraction", "time_in_force", "valid_until",
    "max_slippage_pips", "max_slippage_unit", "max_spread", "max_spread_unit", "strategy_id",
    "trade_plan_id", "risk_category", "origin", "oco_group", "break_even_target",
    "break_even_profit", "break_even_offset", "trailing_distance", "trailing_step",
    "trailing_activation", "stop_rule_unit", "execution_style", "duration_seconds", "slice_count",
    "slice_variation", "price_limit", "catch_up", "at_end", "created_at", "sent_at",
    "published_at", "market_bid", "market_ask", "market_at", "marks",
)  # fmt: skip
_TERMS = ", ".join(f"'{name}'" for name in TERMS)

# The content of a link that is hashed, after the previous link's hash. The text of a jsonb value is
# the same in every session: keys in one order, numbers and texts as they are stored.
CONTENT = (
    "jsonb_build_object('version', 1, 'feed', link.feed_id, 'number', link.number, 'kind',"
    " link.kind, 'signal', link.signal_id, 'sealed_at', to_char(link.sealed_at AT TIME ZONE 'UTC',"
    " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'sealed_later', link.sealed_later, 'salt', link.salt,"
    " 'terms', link.terms)::text"
)

# Amounts are texts: a reader in any language gets every digit. What is not set is left out.
TERMS_OF = f"""
CREATE OR REPLACE FUNCTION public.signals_record_terms(signal public.signals_signal) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $body$
  SELECT coalesce(jsonb_object_agg(t.key, CASE
    WHEN jsonb_typeof(t.value) = 'number'
    THEN to_jsonb(trim_scale((t.value #>> '{{}}')::numeric)::text)
    WHEN t.key IN ('target_prices', 'target_fractions') THEN (
      SELECT jsonb_agg(trim_scale(e.amount::numeric)::text ORDER BY e.place)
      FROM jsonb_array_elements_text(t.value) WITH ORDINALITY AS e(amount, place))
    ELSE t.value END), '{{}}')
  FROM jsonb_each(to_jsonb(signal)) t
  WHERE t.key IN ({_TERMS}) AND t.value NOT IN ('null', '""', '[]')
$body$
"""

# SECURITY DEFINER with a fixed search path: the role that publishes has no influence.
ADD_LINK = f"""
CREATE OR REPLACE FUNCTION public.signals_add_record_link() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $body$
BEGIN
  INSERT INTO public.{LINKS} (feed_id, signal_id, kind, terms, salt, sealed_later)
  VALUES (NEW.feed_id, NEW.id, coalesce(TG_ARGV[0], NEW.action),
    CASE WHEN TG_ARGV[0] = 'CANCEL' THEN jsonb_build_object('cancelled_at', NEW.cancelled_at)
    ELSE public.signals_record_terms(NEW) END, gen_random_uuid()::text, false);
  RETURN NULL;
END $body$
"""

# Runs at commit, when all other locks are already held. One order of locks: the audit trail's head
# if this transaction will need it, then the heads of feeds by id.
SEAL = f"""
CREATE OR REPLACE FUNCTION public.signals_seal_record() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE head public.{HEADS}; link public.{LINKS};
BEGIN
  PERFORM FROM public.{LINKS} WHERE id = NEW.id AND number IS NULL;
  IF NOT FOUND THEN RETURN NULL; END IF;
  {LOCK_HEAD_IF_NEEDED}
  FOR link IN SELECT * FROM public.{LINKS} WHERE number IS NULL ORDER BY feed_id, id LOOP
    IF head.feed_id IS DISTINCT FROM link.feed_id THEN
      INSERT INTO public.{HEADS} (feed_id, links, hash, sealed_at)
      VALUES (link.feed_id, 0, '', clock_timestamp()) ON CONFLICT DO NOTHING;
      SELECT * INTO head FROM public.{HEADS} WHERE feed_id = link.feed_id FOR UPDATE;
    END IF;
    head.links := head.links + 1;
    head.sealed_at := greatest(clock_timestamp(), head.sealed_at);
    link.number := head.links;
    link.sealed_at := head.sealed_at;
    head.hash := encode(sha256(convert_to(head.hash || {CONTENT}, 'UTF8')), 'hex');
    UPDATE public.{LINKS} SET number = link.number, sealed_at = link.sealed_at, hash = head.hash
    WHERE id = link.id;
    UPDATE public.{HEADS} SET links = head.links, hash = head.hash, sealed_at = head.sealed_at
    WHERE feed_id = head.feed_id;
  END LOOP;
  RETURN NULL;
END $body$
"""
FUNCTIONS = {
    "signals_record_terms": TERMS_OF,
    "signals_add_record_link": ADD_LINK,
    "signals_seal_record": SEAL,
}

# What of a trade's result is in its link: everything that the record shows of it. ADR 0040.
RESULT = (
    "pair", "direction", "published_at", "ended_at", "state", "basis", "entry_price", "exit_price",
    "percent", "r", "marks", "subscribers", "real_low", "real_median", "real_high", "slippage",
)  # fmt: skip
_RESULT = ", ".join(f"'{name}'" for name in RESULT)
RESULT_OF = f"""
CREATE OR REPLACE FUNCTION public.signals_record_result(trade anyelement) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $body$
  SELECT coalesce(jsonb_object_agg(t.key, CASE
    WHEN jsonb_typeof(t.value) = 'number'
    THEN to_jsonb(trim_scale((t.value #>> '{{}}')::numeric)::text)
    ELSE t.value END), '{{}}')
  FROM jsonb_each(to_jsonb(trade)) t
  WHERE t.key IN ({_RESULT}) AND t.value NOT IN ('null', '""', '[]')
$body$
"""

# Once for each signal. A transaction that corrects a result says why in fillcast.correction: what
# it writes is sealed beside the earlier result, with the reason. Without one, a change is no link.
ADD_RESULT = f"""
CREATE OR REPLACE FUNCTION public.signals_add_record_result() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $body$
DECLARE reason text := coalesce(current_setting('fillcast.correction', true), '');
  is_sealed boolean := EXISTS (SELECT FROM public.{LINKS} WHERE signal_id = NEW.signal_id
    AND kind = 'RESULT');
BEGIN
  IF is_sealed AND reason = '' THEN RETURN NULL; END IF;
  INSERT INTO public.{LINKS} (feed_id, signal_id, kind, terms, salt, sealed_later)
  VALUES (NEW.feed_id, NEW.signal_id, 'RESULT', public.signals_record_result(NEW)
    || CASE WHEN is_sealed THEN jsonb_build_object('correction', reason) ELSE '{{}}' END,
    gen_random_uuid()::text, NOT is_sealed AND TG_OP = 'UPDATE' AND OLD.is_final);
  RETURN NULL;
END $body$
"""
RESULT_FUNCTIONS = {
    "signals_record_result": RESULT_OF,
    "signals_add_record_result": ADD_RESULT,
}
_ADD = "FOR EACH ROW WHEN ({}) EXECUTE FUNCTION public.signals_add_record_link({})"
_PUBLISHED = "NEW.published_at IS NOT NULL"
TRIGGERS = {
    "record_inserted": f"AFTER INSERT ON signals_signal {_ADD.format(_PUBLISHED, '')}",
    "record_published": "AFTER UPDATE OF published_at ON signals_signal "
    + _ADD.format(f"OLD.published_at IS NULL AND {_PUBLISHED}", ""),
    "record_cancelled": "AFTER UPDATE OF cancelled_at ON signals_signal "
    + _ADD.format(
        f"OLD.cancelled_at IS NULL AND NEW.cancelled_at IS NOT NULL AND {_PUBLISHED}", "'CANCEL'"
    ),
}
SEAL_TRIGGER = (
    f"CREATE CONSTRAINT TRIGGER record_seal AFTER INSERT ON {LINKS}"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.signals_seal_record()"
)
# The function of the audit trail's guard: only triggers write.
GUARDS = tuple(
    f"CREATE TRIGGER fillcast_guard BEFORE {of} ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION public.fillcast_guard_trail()"
    for table, of in (
        (LINKS, "INSERT OR UPDATE OR DELETE OR TRUNCATE"),
        (HEADS, "INSERT OR UPDATE OR DELETE OR TRUNCATE"),
        (ANCHORS, "UPDATE OR DELETE OR TRUNCATE"),
    )
)


def install() -> list[RunSQL]:
    """Create functions and triggers, and leave the right to read."""
    tables = (LINKS, HEADS, ANCHORS)
    roles = f"{WEB}, {TRADE}"
    locked = [
        *(f"REVOKE ALL ON {table} FROM PUBLIC, {roles}" for table in tables),
        f"REVOKE ALL ON FUNCTION public.signals_add_record_link() FROM PUBLIC, {roles}",
        f"REVOKE ALL ON FUNCTION public.signals_seal_record() FROM PUBLIC, {roles}",
        f"GRANT SELECT ON {', '.join(tables)} TO {roles}",
        f"GRANT INSERT ON {ANCHORS} TO {TRADE}",
        f"REVOKE ALL ON SEQUENCE {LINKS}_id_seq FROM PUBLIC, {roles}",
    ]
    triggers = [f"CREATE TRIGGER {name} {body}" for name, body in TRIGGERS.items()]
    drops = tuple(f"DROP FUNCTION public.{name} CASCADE" for name in reversed(FUNCTIONS))
    return [
        RunSQL((*FUNCTIONS.values(), SEAL_TRIGGER), drops),
        # signals/records/selectors.py reads for all: what of a record is shown depends on its age.
        *(operator_rows(table) for table in (*tables, STATUS)),
        RunSQL([*locked, *triggers, *GUARDS], RunSQL.noop),
    ]


def install_results() -> RunSQL:
    """Create the functions that seal results."""
    drops = tuple(f"DROP FUNCTION public.{name} CASCADE" for name in reversed(RESULT_FUNCTIONS))
    revoke = (
        f"REVOKE ALL ON FUNCTION public.signals_add_record_result() FROM PUBLIC, {WEB}, {TRADE}"
    )
    return RunSQL((*RESULT_FUNCTIONS.values(), revoke), drops)
