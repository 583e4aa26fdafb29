"""What nobody may write through the web role beyond their own rights, whatever the code does.

Row-level security says which rows a session reaches; these triggers say who may change the columns
that decide about rights and money. They bind the web role alone: workers and the owner act for the
system. Who acts is `fillcast.tenant`; what that user may is read from the database, not from the
setting `fillcast.operator`, which only opens rows.
"""

from django.db import migrations

WEB_SESSION = """
CREATE FUNCTION public.fillcast_is_web_session() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT row_security_active('public.users_user')
    AND NOT pg_has_role(current_user, 'fillcast_trade', 'USAGE')
$$
"""
ACTOR = """
CREATE FUNCTION public.fillcast_actor() RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT nullif(current_setting('fillcast.tenant', true), '')::bigint
$$
"""
# '': any operator; 'superuser': superusers only; otherwise a right of common/permissions.py.
MAY = """
CREATE FUNCTION public.fillcast_actor_may(needed text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(bool_or(actor.is_superuser OR (actor.is_staff AND (needed = '' OR EXISTS (
    SELECT FROM public.auth_permission p
    JOIN public.django_content_type t ON t.id = p.content_type_id AND t.app_label = 'users'
    WHERE p.codename = needed AND (
      EXISTS (SELECT FROM public.users_user_user_permissions own
              WHERE own.user_id = actor.id AND own.permission_id = p.id)
      OR EXISTS (SELECT FROM public.users_user_groups mine
                 JOIN public.auth_group_permissions has ON has.group_id = mine.group_id
                 WHERE mine.user_id = actor.id AND has.permission_id = p.id)))))), false)
  FROM public.users_user actor
  WHERE actor.id = public.fillcast_actor() AND actor.is_active
$$
"""
REFUSED = """
CREATE FUNCTION public.fillcast_refuse(sentence text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE insufficient_privilege USING MESSAGE = sentence;
END $$
"""
HEAD = """RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
"""
TAIL = """
  RETURN coalesce(NEW, OLD);
END $$
"""
_OWNER = "coalesce(to_jsonb({row})->>'owner_id', to_jsonb({row})->>'user_id')"
# The setting `fillcast.operator` opens every tenant's rows, for publications too: not these tables'.
SETTING = f"""
CREATE FUNCTION public.fillcast_guard_setting() {HEAD}
  IF current_setting('fillcast.operator', true) = 'on' AND NOT public.fillcast_actor_may('')
      AND (TG_OP <> 'INSERT' AND {_OWNER.format(row="OLD")} IS DISTINCT FROM actor::text
        OR TG_OP <> 'DELETE' AND {_OWNER.format(row="NEW")} IS DISTINCT FROM actor::text) THEN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - TG_ARGV[0]::text[] = to_jsonb(OLD) - TG_ARGV[0]::text[]
      THEN RETURN NEW; END IF;
    PERFORM public.fillcast_refuse('Only an operator changes ' || TG_TABLE_NAME || ' of others.');
  END IF;
{TAIL}"""
USER = f"""
CREATE FUNCTION public.fillcast_guard_user() {HEAD}
  IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - 'last_login' = to_jsonb(OLD) - 'last_login' THEN
    RETURN NEW;
  END IF;
  IF (TG_OP <> 'DELETE' AND NEW.is_superuser OR TG_OP <> 'INSERT' AND OLD.is_superuser)
      AND actor IS DISTINCT FROM coalesce(OLD.id, NEW.id)
      AND NOT public.fillcast_actor_may('superuser') THEN
    PERFORM public.fillcast_refuse('Only a superuser makes or changes a superuser.');
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.id = actor THEN
    IF (NEW.id, NEW.is_staff, NEW.is_active, NEW.is_superuser)
        IS DISTINCT FROM (OLD.id, OLD.is_staff, OLD.is_active, OLD.is_superuser) THEN
      PERFORM public.fillcast_refuse('Nobody changes their own rights.');
    END IF;
  ELSIF NOT public.fillcast_actor_may('manage_users') THEN
    PERFORM public.fillcast_refuse('Changing other users needs the right manage_users.');
  END IF;
{TAIL}"""
MEMBERSHIP = f"""
CREATE FUNCTION public.fillcast_guard_membership() {HEAD}
  IF NOT public.fillcast_actor_may('superuser') AND (
      coalesce(NEW.user_id, OLD.user_id) = actor
      OR NOT public.fillcast_actor_may('manage_users')
      OR EXISTS (SELECT FROM public.users_user u
                 WHERE u.id = coalesce(NEW.user_id, OLD.user_id) AND u.is_superuser)) THEN
    PERFORM public.fillcast_refuse(
      'Changing the rights of others needs the right manage_users; nobody changes their own.');
  END IF;
  IF TG_OP <> 'DELETE' AND EXISTS (
      SELECT FROM public.auth_permission p
      JOIN public.django_content_type t ON t.id = p.content_type_id AND t.app_label = 'users'
      WHERE p.id IN (SELECT has.permission_id FROM public.auth_group_permissions has
                     WHERE has.group_id = (to_jsonb(NEW) ->> 'group_id')::bigint
                     UNION ALL SELECT (to_jsonb(NEW) ->> 'permission_id')::bigint)
        AND NOT public.fillcast_actor_may(p.codename)) THEN
    PERFORM public.fillcast_refuse('Nobody gives rights that they do not have.');
  END IF;
{TAIL}"""
GROUP = f"""
CREATE FUNCTION public.fillcast_guard_group() {HEAD}
  IF NOT public.fillcast_actor_may('superuser') THEN
    PERFORM public.fillcast_refuse('Only a superuser changes what a group may.');
  END IF;
{TAIL}"""
API_KEY = f"""
CREATE FUNCTION public.fillcast_guard_api_key() {HEAD}
  IF TG_OP = 'UPDATE' THEN
    IF to_jsonb(NEW) - 'last_used_at' = to_jsonb(OLD) - 'last_used_at' THEN RETURN NEW; END IF;
    IF (NEW.id, NEW.user_id, NEW.prefix, NEW.secret_hash)
        IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.prefix, OLD.secret_hash) THEN
      PERFORM public.fillcast_refuse('A key keeps its secret and its owner.');
    END IF;
    IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NULL THEN
      PERFORM public.fillcast_refuse('A revoked key stays revoked.');
    END IF;
  END IF;
  IF actor IS DISTINCT FROM coalesce(NEW.user_id, OLD.user_id)
      AND (NOT public.fillcast_actor_may('manage_api_keys') OR TG_OP = 'INSERT'
           AND NOT public.fillcast_actor_may('superuser') AND EXISTS (
             SELECT FROM public.users_user u WHERE u.id = NEW.user_id AND u.is_superuser)) THEN
    PERFORM public.fillcast_refuse('The key of another user needs the right manage_api_keys.');
  END IF;
{TAIL}"""
CONNECTION = f"""
CREATE FUNCTION public.fillcast_guard_connection() {HEAD}
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  IF (NEW.claim <> '' AND (TG_OP = 'INSERT' OR NEW.claim <> OLD.claim))
      OR (NEW.key_claim <> '' AND (TG_OP = 'INSERT' OR NEW.key_claim <> OLD.key_claim)) THEN
    PERFORM public.fillcast_refuse('Only a test that passed proves whose account it is.');
  END IF;
  IF NEW.user_id IS DISTINCT FROM actor AND NOT public.fillcast_actor_may('manage_connections')
      AND (TG_OP = 'INSERT' OR (NEW.id, NEW.user_id, NEW.admin_id)
           IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.admin_id)) THEN
    PERFORM public.fillcast_refuse('Accounts of others need the right manage_connections.');
  END IF;
  IF NEW.admin_id IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.admin_id IS DISTINCT FROM OLD.admin_id)
      AND NOT public.fillcast_actor_may('') THEN
    PERFORM public.fillcast_refuse('Only operators have accounts that take every signal.');
  END IF;
{TAIL}"""
HALT = f"""
CREATE FUNCTION public.fillcast_guard_halt() {HEAD}
  IF TG_OP = 'INSERT' AND (NEW.scope = 'ALL' OR NEW.set_by_id IS DISTINCT FROM actor)
      AND NOT public.fillcast_actor_may('set_kill_switch') THEN
    PERFORM public.fillcast_refuse('Halting others needs the right set_kill_switch.');
  END IF;
  IF TG_OP <> 'INSERT' AND (OLD.scope = 'ALL' OR OLD.set_by_id IS DISTINCT FROM actor)
      AND NOT public.fillcast_actor_may('release_kill_switch') THEN
    PERFORM public.fillcast_refuse('Releasing what others set needs the right release_kill_switch.');
  END IF;
{TAIL}"""
# ADR 0020's triggers ask this before a feed or a signal is approved.
MAY_NOT_APPROVE = """
CREATE OR REPLACE FUNCTION public.signals_is_tenant_session() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT public.fillcast_is_web_session() AND NOT (
    public.fillcast_actor_may('approve_signals') OR public.fillcast_actor_may('manage_feeds'))
$$
"""

GUARDED = (
    ("users_user", "fillcast_guard_user()"),
    ("users_user_groups", "fillcast_guard_membership()"),
    ("users_user_user_permissions", "fillcast_guard_membership()"),
    ("auth_group", "fillcast_guard_group()"),
    ("auth_group_permissions", "fillcast_guard_group()"),
    ("users_apikey", "fillcast_guard_api_key()"),
    ("connections_executionconnection", "fillcast_guard_connection()"),
    ("connections_killswitch", "fillcast_guard_halt()"),
)
SETTINGS = (
    ("connections_executionconnection", ""),
    ("connections_tradingpreset", ""),
    ("connections_subscription", ""),
    ("connections_killswitch", ""),
    ("connections_dataconnection", ""),
    ("connections_maintenancewindow", ""),
    ("signals_feed", ""),
    ("signals_feedtoken", ""),
    ("events_channel", ""),
    ("django_celery_beat_periodictask", ""),
    ("django_celery_beat_intervalschedule", ""),
    ("django_celery_beat_crontabschedule", ""),
    ("django_celery_beat_clockedschedule", ""),
    ("django_celery_beat_solarschedule", ""),
)
BEFORE = "BEFORE INSERT OR UPDATE OR DELETE ON"
FUNCTIONS = (WEB_SESSION, ACTOR, MAY, REFUSED, SETTING, USER, MEMBERSHIP, GROUP, API_KEY,
             CONNECTION, HALT, MAY_NOT_APPROVE)  # fmt: skip
TRIGGERS = (
    *(
        f"CREATE TRIGGER fillcast_guard {BEFORE} {table} FOR EACH ROW"
        f" EXECUTE FUNCTION public.{function}"
        for table, function in GUARDED
    ),
    *(
        f"CREATE TRIGGER fillcast_guard_setting {BEFORE} {table} FOR EACH ROW"
        f" EXECUTE FUNCTION public.fillcast_guard_setting('{{{ignored}}}')"
        for table, ignored in SETTINGS
    ),
)


class Migration(migrations.Migration):
    dependencies = [
        ("users", "0006_one_audit_trail"),
        ("connections", "0027_one_audit_trail"),
        ("signals", "0008_approval_triggers"),
        ("events", "0007_silent_connections"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]
    operations = [migrations.RunSQL((*FUNCTIONS, *TRIGGERS), migrations.RunSQL.noop)]
