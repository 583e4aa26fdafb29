"""What the web role may write of second factors and of keys that are there.

An app is removed by its user, or reset by staff with the right `manage_users` who have every right
that its user has; nobody else's is ever added or changed. Its last time step only grows, a used
recovery code stays used, and an API key gains neither scopes nor time. 0007_guards.py has the rest.
"""

from django.db import migrations

GRANTS = (
    "REVOKE UPDATE ON users_secondfactor, users_recoverycode FROM fillcast_web",
    "GRANT UPDATE (last_step) ON users_secondfactor TO fillcast_web",
    "GRANT UPDATE (used_at) ON users_recoverycode TO fillcast_web",
)
BEGIN = """RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
"""
END = """
  RETURN coalesce(NEW, OLD);
END $$
"""
ABOVE = """
CREATE FUNCTION public.fillcast_actor_is_above(somebody bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT public.fillcast_actor_may('manage_users') AND NOT EXISTS (
      SELECT FROM public.users_user u WHERE u.id = somebody AND u.is_superuser
        AND NOT public.fillcast_actor_may('superuser'))
    AND NOT EXISTS (
      SELECT FROM public.auth_permission p
      JOIN public.django_content_type t ON t.id = p.content_type_id AND t.app_label = 'users'
      WHERE (EXISTS (SELECT FROM public.users_user_user_permissions own
                     WHERE own.user_id = somebody AND own.permission_id = p.id)
          OR EXISTS (SELECT FROM public.users_user_groups mine
                     JOIN public.auth_group_permissions has ON has.group_id = mine.group_id
                     WHERE mine.user_id = somebody AND has.permission_id = p.id))
        AND NOT public.fillcast_actor_may(p.codename))
$$
"""
FACTOR = f"""
CREATE FUNCTION public.fillcast_guard_factor() {BEGIN}
  IF TG_OP = 'DELETE' AND OLD.user_id IS DISTINCT FROM actor
      AND NOT public.fillcast_actor_is_above(OLD.user_id) THEN
    PERFORM public.fillcast_refuse('Resetting the second factor of others needs the right'
      ' manage_users, and every right that they have.');
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.user_id IS DISTINCT FROM actor THEN
    PERFORM public.fillcast_refuse('A second factor is set up and used by its user only.');
  END IF;
  IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'users_secondfactor'
      AND (to_jsonb(NEW) ->> 'last_step')::bigint < (to_jsonb(OLD) ->> 'last_step')::bigint THEN
    PERFORM public.fillcast_refuse('A code that was used stays used.');
  END IF;
  IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'users_recoverycode'
      AND to_jsonb(OLD) ->> 'used_at' IS NOT NULL THEN
    PERFORM public.fillcast_refuse('A code that was used stays used.');
  END IF;
{END}"""
KEY = f"""
CREATE FUNCTION public.fillcast_guard_key_growth() {BEGIN}
  IF NOT NEW.scopes <@ OLD.scopes OR NEW.expires_at > OLD.expires_at THEN
    PERFORM public.fillcast_refuse('A key gains neither scopes nor time.');
  END IF;
{END}"""
TRIGGERS = (
    *(
        f"CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION public.fillcast_guard_factor()"
        for table in ("users_secondfactor", "users_recoverycode")
    ),
    "CREATE TRIGGER fillcast_guard_growth BEFORE UPDATE OF scopes, expires_at ON users_apikey"
    " FOR EACH ROW EXECUTE FUNCTION public.fillcast_guard_key_growth()",
)


class Migration(migrations.Migration):
    dependencies = [("users", "0013_keys_end")]
    operations = [migrations.RunSQL((*GRANTS, ABOVE, FACTOR, KEY, *TRIGGERS), migrations.RunSQL.noop)]
