"""The audit trail's functions in the database, as SQL.

The hashed form of a line's content must never change, or old lines no longer verify. A new form
needs a version column, and both forms here.
"""

from django.db.migrations import RunSQL

from common.db.row_security import TRADE, WEB, operator_rows

LINES, HEAD, CHECKPOINTS = "common_trailline", "common_trailhead", "common_trailcheckpoint"

# The content of a line that is hashed, after the previous line's hash. The text of a jsonb value is
# the same in every session: keys in one order, numbers and texts as they are stored.
CONTENT = (
    "jsonb_build_array(line.number, line.id,"
    " to_char(line.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), line.operation,"
    " line.relation, line.row_id, line.before, line.after, line.user_id, line.address, line.origin,"
    " line.context, line.login)::text"
)

# SECURITY DEFINER with a fixed search path: the role that makes the change has no influence.
ADD_LINE = """
CREATE OR REPLACE FUNCTION public.fillcast_add_trail_line() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  secrets text[] := TG_ARGV[0]::text[];
  ignored text[] := TG_ARGV[1]::text[];
  old_row jsonb; new_row jsonb; key text; hidden jsonb := '"(secret)"';
  facts jsonb := coalesce(nullif(current_setting('fillcast.trail', true), ''), '{}')::jsonb;
  program text := coalesce(nullif(current_setting('fillcast.program', true), ''),
    substring(current_setting('application_name')  -- all that a transaction pooler passes on
              from '^fillcast-(?:trade|web) ((?:command|process|task):[A-Za-z0-9._-]+)$'),
    'database');
BEGIN
  IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD) - ignored; END IF;
  IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW) - ignored; END IF;
  key := coalesce(new_row, old_row) ->> 'id';
  IF TG_OP = 'UPDATE' THEN
    IF old_row = new_row THEN RETURN NULL; END IF;
    SELECT jsonb_object_agg(was.key, was.value), jsonb_object_agg(was.key, now.value)
      INTO old_row, new_row
      FROM jsonb_each(old_row) was JOIN jsonb_each(new_row) now USING (key)
      WHERE was.value IS DISTINCT FROM now.value;
  END IF;
  SELECT jsonb_object_agg(column_of.key, CASE
      WHEN column_of.key = ANY (secrets) AND column_of.value NOT IN ('null', '""', '"\\\\x"')
      THEN hidden ELSE column_of.value END)
    INTO old_row FROM jsonb_each(old_row) column_of;
  SELECT jsonb_object_agg(column_of.key, CASE
      WHEN column_of.key = ANY (secrets) AND column_of.value NOT IN ('null', '""', '"\\\\x"')
      THEN hidden ELSE column_of.value END)
    INTO new_row FROM jsonb_each(new_row) column_of;
  INSERT INTO public.common_trailline
    (at, operation, relation, row_id, before, after, user_id, address, origin, context, login)
  VALUES (
    clock_timestamp(), lower(TG_OP), TG_TABLE_NAME, coalesce(key, ''), old_row, new_row,
    coalesce((facts ->> 'user')::bigint,
             nullif(current_setting('fillcast.tenant', true), '')::bigint),
    coalesce(facts ->> 'address', ''),
    coalesce(facts ->> 'origin', split_part(program, ':', 1)),
    (facts - '{user,address,origin}'::text[]) || jsonb_build_object('program', program),
    session_user || '/' || coalesce(nullif(current_setting('role', true), 'none'), session_user)
  );
  RETURN NULL;
END $body$
"""

# Runs at commit, when all other locks are already held: transactions that change settings wait for
# each other here only for the time of a commit, and cannot deadlock.
CHAIN = f"""
CREATE OR REPLACE FUNCTION public.fillcast_chain_trail() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE head public.{HEAD}; line public.{LINES};
BEGIN
  PERFORM FROM public.{LINES} WHERE id = NEW.id AND number IS NULL;
  IF NOT FOUND THEN RETURN NULL; END IF;
  INSERT INTO public.{HEAD} (id, lines, hash) VALUES (1, 0, '') ON CONFLICT DO NOTHING;
  SELECT * INTO head FROM public.{HEAD} WHERE id = 1 FOR UPDATE;
  FOR line IN SELECT * FROM public.{LINES} WHERE number IS NULL ORDER BY id LOOP
    head.lines := head.lines + 1;
    line.number := head.lines;
    head.hash := encode(sha256(convert_to(head.hash || {CONTENT}, 'UTF8')), 'hex');
    UPDATE public.{LINES} SET number = line.number, hash = head.hash WHERE id = line.id;
  END LOOP;
  UPDATE public.{HEAD} SET lines = head.lines, hash = head.hash WHERE id = 1;
  RETURN NULL;
END $body$
"""

LOCK_HEAD_IF_NEEDED = f"""IF EXISTS (SELECT FROM public.{LINES} WHERE number IS NULL) THEN
    PERFORM FROM public.{HEAD} WHERE id = 1 FOR UPDATE;
  END IF;"""
"""PL/pgSQL for other triggers at commit that lock: the trail's head comes first, so that none of
them deadlocks."""

GUARD = """
CREATE OR REPLACE FUNCTION public.fillcast_guard_trail() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF pg_trigger_depth() < 2 THEN
    RAISE insufficient_privilege USING MESSAGE = 'The audit trail is written by triggers only.';
  END IF;
  RETURN NULL;
END $body$
"""
FUNCTIONS = {
    "fillcast_add_trail_line": ADD_LINE,
    "fillcast_chain_trail": CHAIN,
    "fillcast_guard_trail": GUARD,
}
CHAIN_TRIGGER = (
    f"CREATE CONSTRAINT TRIGGER fillcast_chain AFTER INSERT ON {LINES}"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.fillcast_chain_trail()"
)
GUARD_TRIGGERS = tuple(
    f"CREATE TRIGGER fillcast_guard BEFORE {of} ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION public.fillcast_guard_trail()"
    for table, of in (
        (LINES, "INSERT OR UPDATE OR DELETE OR TRUNCATE"),
        (HEAD, "INSERT OR UPDATE OR DELETE OR TRUNCATE"),
        (CHECKPOINTS, "UPDATE OR DELETE OR TRUNCATE"),
    )
)


def install() -> list[RunSQL]:
    """Create the functions, and leave the application's roles only the right to read."""
    locked = [
        f"REVOKE ALL ON {table} FROM PUBLIC, {WEB}, {TRADE}" for table in (LINES, HEAD, CHECKPOINTS)
    ]
    revoked = [
        # An existing trigger fires for every role. Without the right to execute its function, a
        # role cannot create another trigger with it on a table of its own.
        f"REVOKE ALL ON FUNCTION public.{name}() FROM PUBLIC, {WEB}, {TRADE}"
        for name in FUNCTIONS
    ]
    granted = [
        f"GRANT SELECT ON {LINES}, {HEAD}, {CHECKPOINTS} TO {WEB}, {TRADE}",
        f"GRANT INSERT ON {CHECKPOINTS} TO {TRADE}",
        f"REVOKE ALL ON SEQUENCE {LINES}_id_seq FROM PUBLIC, {WEB}, {TRADE}",
    ]
    return [
        RunSQL((*FUNCTIONS.values(), *revoked), _dropped()),
        *(operator_rows(table) for table in (LINES, HEAD, CHECKPOINTS)),
        RunSQL([*locked, *granted, CHAIN_TRIGGER], RunSQL.noop),
    ]


def guard() -> RunSQL:
    """Refuse direct writes into the trail, even by the tables' owner."""
    tables = (LINES, HEAD, CHECKPOINTS)
    return RunSQL(
        list(GUARD_TRIGGERS), [f"DROP TRIGGER fillcast_guard ON {table}" for table in tables]
    )


def track(
    table: str,
    *,
    secrets: tuple[str, ...] = (),
    ignored: tuple[str, ...] = (),
    decided: tuple[str, ...] = (),
) -> RunSQL:
    """Add a trail line for each change of a table.

    secrets: columns whose values are not stored. ignored: columns whose changes are not tracked.
    decided: for a table that processes write; only a statement that sets one of these columns
    leaves a line.
    """
    arguments = ", ".join(f"'{{{','.join(names)}}}'" for names in (secrets, ignored))
    event = f"UPDATE OF {', '.join(decided)}" if decided else "INSERT OR UPDATE OR DELETE"
    return RunSQL(
        f"CREATE TRIGGER fillcast_trail AFTER {event} ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION public.fillcast_add_trail_line({arguments})",
        f"DROP TRIGGER fillcast_trail ON {table}",
    )


def _dropped() -> tuple[str, ...]:
    return tuple(f"DROP FUNCTION public.{name}() CASCADE" for name in reversed(FUNCTIONS))
