"""Figures of the planner for tables that have just grown.

The planner assumes that a table which was never analyzed has a few rows, and may compare each of
them with each of a bundle's. Autovacuum analyzes new tables after a minute by default: the first
signals of an installation would be executed with such plans. A session plans kept statements again
once their tables have been analyzed.
"""

from common.db.sql import rows

# The function belongs to the owner of the tables: only that role may analyze them. It analyzes one
# table, so that what a time-out takes back is not that of the tables before. A table that is locked
# is left to the next call.
CREATE_ANALYZE = """
CREATE FUNCTION public.fillcast_analyze_new_table(without text[]) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  grown name;
BEGIN
  SELECT c.relname INTO grown FROM pg_class c
  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    AND pg_has_role(c.relowner, 'USAGE') AND c.relname <> ALL(without)
    AND pg_stat_get_live_tuples(c.oid) > 100 + 10 * greatest(c.reltuples, 0)
  ORDER BY c.oid LIMIT 1;
  IF grown IS NOT NULL THEN
    EXECUTE format('ANALYZE (SKIP_LOCKED) public.%I', grown);
  END IF;
  RETURN grown;
END
$body$
"""
# Each vacuum or analysis of a table has every session plan its kept statements of that table again,
# milliseconds each. PostgreSQL's own thresholds are 50 changed rows: a table of leases, or one that
# has just begun to grow, passes them at each look, and planning costs more than trading.
ANALYZE_RARELY = """
DO $body$
DECLARE
  our name;
BEGIN
  FOR our IN SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
      AND c.relowner = current_user::regrole
      AND NOT coalesce(c.reloptions::text LIKE '%autovacuum_analyze_threshold%', false)
    ORDER BY c.oid
  LOOP
    EXECUTE format('ALTER TABLE public.%I SET (autovacuum_analyze_threshold = 20000, '
      'autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = 20000)', our);
  END LOOP;
END
$body$
"""
FUNCTION = "FUNCTION public.fillcast_analyze_new_table(text[])"


def analyze_new_tables() -> list[str]:
    """Analyze the tables that have ten times the rows that the planner knows of; return their
    names.

    The server counts rows for this at the end of transactions, up to a second later.
    """
    analyzed: list[str] = []
    while True:
        ((name,),) = rows("SELECT public.fillcast_analyze_new_table(%s::text[])", (analyzed,))
        if name is None:
            return analyzed
        analyzed.append(name)
