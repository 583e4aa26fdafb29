"""Only trading processes find an account healthy: the web role may ask for a test and forget results.

Column grants say what it may write at all; a trigger refuses the values that would let an account
trade that no test and no comparison has found in order. Its condition is judged without a call, so
workers, who write these rows all the time, do not pay for it.
"""

from django.db import migrations

TABLE = "connections_connectionhealth"
OPERATOR = "(SELECT current_setting('fillcast.operator', true) = 'on')"
TENANT = "(SELECT NULLIF(current_setting('fillcast.tenant', true), '')::bigint)"
MINE = (
    "connection_id IN (SELECT mine.id FROM connections_executionconnection mine"
    f" WHERE mine.user_id = {TENANT} OR mine.admin_id = {TENANT})"
)
# Not by the setting `fillcast.operator`, which opens rows for publications: by the right.
BY_RIGHT = (
    "((SELECT public.fillcast_actor_may('manage_connections'))"
    " OR (SELECT public.fillcast_actor_may('replace_credentials')))"
)
GRANTS = (
    f"REVOKE UPDATE, DELETE ON {TABLE} FROM fillcast_web",
    "GRANT UPDATE (status, needs_test, reconciled_at, test_requested_at, watched_since)"
    f" ON {TABLE} TO fillcast_web",
    f"DROP POLICY tenant_rows_insert ON {TABLE}",
    f"CREATE POLICY tenant_rows_insert ON {TABLE} FOR INSERT TO fillcast_web"
    f" WITH CHECK ({MINE} OR {BY_RIGHT})",
    f"DROP POLICY tenant_rows_update ON {TABLE}",
    f"CREATE POLICY tenant_rows_update ON {TABLE} FOR UPDATE TO fillcast_web"
    f" USING ({MINE} OR {BY_RIGHT}) WITH CHECK ({MINE} OR {BY_RIGHT})",
)
FUNCTION = """
CREATE FUNCTION public.fillcast_guard_health() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF public.fillcast_is_web_session() THEN
    PERFORM public.fillcast_refuse('Only a test or a comparison finds an account in order.');
  END IF;
  RETURN NEW;
END $$
"""
TRIGGERS = (
    f"""CREATE TRIGGER fillcast_guard BEFORE UPDATE ON {TABLE} FOR EACH ROW WHEN (
  NEW.status <> OLD.status AND NEW.status <> 'UNTESTED'
  OR OLD.needs_test AND NOT NEW.needs_test
  OR NEW.reconciled_at IS NOT NULL AND NEW.reconciled_at IS DISTINCT FROM OLD.reconciled_at)
EXECUTE FUNCTION public.fillcast_guard_health()""",
    f"""CREATE TRIGGER fillcast_guard_new BEFORE INSERT ON {TABLE} FOR EACH ROW WHEN (
  NEW.status <> 'UNTESTED' OR NOT NEW.needs_test OR NEW.reconciled_at IS NOT NULL)
EXECUTE FUNCTION public.fillcast_guard_health()""",
)


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0029_no_freeze_level"),
        ("users", "0007_guards"),
    ]
    operations = [
        migrations.RunSQL((*GRANTS, FUNCTION, *TRIGGERS), migrations.RunSQL.noop),
    ]
