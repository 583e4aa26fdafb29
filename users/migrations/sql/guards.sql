-- Guards that keep a session of the web role within the rights of its user, even if the code fails.
--
-- Row-level security decides which rows a session reaches; these triggers decide who may change the
-- columns that give rights and move money. They bind only the web role: workers and the owner act
-- for the system. The actor is `fillcast.tenant`; the actor's rights are read from the
-- database, not from the setting `fillcast.operator`, which only opens rows. Each app has the
-- guards of its own tables in such a file; config/ has those of the schedules.

CREATE FUNCTION public.fillcast_is_web_session() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT row_security_active('public.users_user')
    AND NOT pg_has_role(current_user, 'fillcast_trade', 'USAGE')
$$;

CREATE FUNCTION public.fillcast_actor() RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT nullif(current_setting('fillcast.tenant', true), '')::bigint
$$;

-- needed: '' is any operator; 'superuser' superusers only; otherwise a right of
-- common/permissions.py.
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
$$;

CREATE FUNCTION public.fillcast_refuse(sentence text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE insufficient_privilege USING MESSAGE = sentence;
END $$;

-- For tables of settings. The setting `fillcast.operator` opens the rows of every tenant, for
-- publications too: these tables ask for the right as well. The argument lists columns that do not
-- count.
CREATE FUNCTION public.fillcast_guard_setting() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF current_setting('fillcast.operator', true) = 'on' AND NOT public.fillcast_actor_may('')
      AND (TG_OP <> 'INSERT' AND coalesce(to_jsonb(OLD)->>'owner_id', to_jsonb(OLD)->>'user_id')
             IS DISTINCT FROM actor::text
        OR TG_OP <> 'DELETE' AND coalesce(to_jsonb(NEW)->>'owner_id', to_jsonb(NEW)->>'user_id')
             IS DISTINCT FROM actor::text) THEN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - TG_ARGV[0]::text[] = to_jsonb(OLD) - TG_ARGV[0]::text[]
      THEN RETURN NEW; END IF;
    PERFORM public.fillcast_refuse('Only an operator changes ' || TG_TABLE_NAME || ' of others.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;

-- Users: their own row without rights, others by right.
CREATE FUNCTION public.fillcast_guard_user() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - 'last_login' = to_jsonb(OLD) - 'last_login' THEN
    RETURN NEW;
  END IF;
  IF TG_OP = 'INSERT' AND actor IS NULL AND NEW.is_active
      AND NOT NEW.is_staff AND NOT NEW.is_superuser THEN
    RETURN NEW;
  END IF;
  IF (TG_OP <> 'DELETE' AND NEW.is_superuser OR TG_OP <> 'INSERT' AND OLD.is_superuser)
      AND actor IS DISTINCT FROM coalesce(OLD.id, NEW.id)
      AND NOT public.fillcast_actor_may('superuser') THEN
    PERFORM public.fillcast_refuse('Only a superuser makes or changes a superuser.');
  END IF;
  IF TG_OP = 'UPDATE' AND OLD.id = actor THEN
    IF (NEW.id, NEW.is_staff, NEW.is_superuser)
          IS DISTINCT FROM (OLD.id, OLD.is_staff, OLD.is_superuser)
        OR NEW.is_active AND NOT OLD.is_active
        OR OLD.is_active AND NOT NEW.is_active AND OLD.is_staff THEN
      PERFORM public.fillcast_refuse('You cannot change your own rights.');
    END IF;
  ELSIF NOT public.fillcast_actor_may('manage_users') THEN
    PERFORM public.fillcast_refuse('Changing other users needs the right manage_users.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON users_user FOR EACH ROW EXECUTE FUNCTION fillcast_guard_user();

-- Groups and permissions of a user.
CREATE FUNCTION public.fillcast_guard_membership() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF NOT public.fillcast_actor_may('superuser') AND (
      coalesce(NEW.user_id, OLD.user_id) = actor
      OR NOT public.fillcast_actor_may('manage_users')
      OR EXISTS (SELECT FROM public.users_user u
                 WHERE u.id = coalesce(NEW.user_id, OLD.user_id) AND u.is_superuser)) THEN
    PERFORM public.fillcast_refuse(
      'Changing the rights of others needs the right manage_users; you cannot change your own.');
  END IF;
  IF TG_OP <> 'DELETE' AND EXISTS (
      SELECT FROM public.auth_permission p
      JOIN public.django_content_type t ON t.id = p.content_type_id AND t.app_label = 'users'
      WHERE p.id IN (SELECT has.permission_id FROM public.auth_group_permissions has
                     WHERE has.group_id = (to_jsonb(NEW) ->> 'group_id')::bigint
                     UNION ALL SELECT (to_jsonb(NEW) ->> 'permission_id')::bigint)
        AND NOT public.fillcast_actor_may(p.codename)) THEN
    PERFORM public.fillcast_refuse('You cannot give rights that you do not have.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON users_user_groups FOR EACH ROW EXECUTE FUNCTION fillcast_guard_membership();

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON users_user_user_permissions FOR EACH ROW EXECUTE FUNCTION fillcast_guard_membership();

-- Groups, and what each may.
CREATE FUNCTION public.fillcast_guard_group() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF NOT public.fillcast_actor_may('superuser') THEN
    PERFORM public.fillcast_refuse('Only a superuser changes what a group may.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON auth_group FOR EACH ROW EXECUTE FUNCTION fillcast_guard_group();

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON auth_group_permissions FOR EACH ROW EXECUTE FUNCTION fillcast_guard_group();

-- API keys: owner and secret stay, and so does a revocation.
CREATE FUNCTION public.fillcast_guard_api_key() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF TG_OP = 'UPDATE' THEN
    IF to_jsonb(NEW) - 'last_used_at' = to_jsonb(OLD) - 'last_used_at' THEN RETURN NEW; END IF;
    IF (NEW.id, NEW.user_id, NEW.prefix, NEW.secret_hash, NEW.made_with_id)
        IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.prefix, OLD.secret_hash, OLD.made_with_id) THEN
      PERFORM public.fillcast_refuse(
        'A key keeps its secret, its owner and the key that it was made with.');
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
  RETURN coalesce(NEW, OLD);
END $$;

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON users_apikey FOR EACH ROW EXECUTE FUNCTION fillcast_guard_api_key();

-- A key gains neither scopes nor time.
CREATE FUNCTION public.fillcast_guard_key_growth() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF NOT NEW.scopes <@ OLD.scopes OR NEW.expires_at > OLD.expires_at THEN
    PERFORM public.fillcast_refuse('A key gains neither scopes nor time.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;

CREATE TRIGGER fillcast_guard_growth BEFORE UPDATE OF scopes, expires_at ON users_apikey
  FOR EACH ROW EXECUTE FUNCTION public.fillcast_guard_key_growth();

-- Whether the actor has every right that another user has.
CREATE FUNCTION public.fillcast_actor_is_above(subject bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT public.fillcast_actor_may('manage_users') AND NOT EXISTS (
      SELECT FROM public.users_user u WHERE u.id = subject AND u.is_superuser
        AND NOT public.fillcast_actor_may('superuser'))
    AND NOT EXISTS (
      SELECT FROM public.auth_permission p
      JOIN public.django_content_type t ON t.id = p.content_type_id AND t.app_label = 'users'
      WHERE (EXISTS (SELECT FROM public.users_user_user_permissions own
                     WHERE own.user_id = subject AND own.permission_id = p.id)
          OR EXISTS (SELECT FROM public.users_user_groups mine
                     JOIN public.auth_group_permissions has ON has.group_id = mine.group_id
                     WHERE mine.user_id = subject AND has.permission_id = p.id))
        AND NOT public.fillcast_actor_may(p.codename))
$$;

-- Second factors and recovery codes: of their user only. Staff with the right `manage_users` and
-- every right that the user has remove them. The last time step only grows; a used code stays
-- used.
CREATE FUNCTION public.fillcast_guard_factor() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
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
  RETURN coalesce(NEW, OLD);
END $$;

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON users_secondfactor FOR EACH ROW EXECUTE FUNCTION fillcast_guard_factor();

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON users_recoverycode FOR EACH ROW EXECUTE FUNCTION fillcast_guard_factor();

REVOKE UPDATE ON users_secondfactor, users_recoverycode FROM fillcast_web;
GRANT UPDATE (last_step) ON users_secondfactor TO fillcast_web;
GRANT UPDATE (used_at) ON users_recoverycode TO fillcast_web;

-- Another address is unproven, also if an operator enters it.
CREATE FUNCTION public.fillcast_forget_confirmation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF lower(NEW.email) IS DISTINCT FROM lower(OLD.email)
      AND NEW.email_confirmed_at IS NOT DISTINCT FROM OLD.email_confirmed_at THEN
    NEW.email_confirmed_at := NULL;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER fillcast_forget_confirmation BEFORE UPDATE OF email ON users_user
  FOR EACH ROW EXECUTE FUNCTION public.fillcast_forget_confirmation();

-- Invitations: made and revoked by right, used once, by a visitor.
CREATE FUNCTION public.fillcast_guard_invitation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF TG_OP = 'DELETE' THEN
    PERFORM public.fillcast_refuse('Invitations are kept; revoke them.');
  END IF;
  IF TG_OP = 'UPDATE' THEN
    IF OLD.used_at IS NOT NULL OR OLD.revoked_at IS NOT NULL
        OR (NEW.id, NEW.secret_hash, NEW.created_by_id, NEW.created_at, NEW.expires_at)
          IS DISTINCT FROM
          (OLD.id, OLD.secret_hash, OLD.created_by_id, OLD.created_at, OLD.expires_at) THEN
      PERFORM public.fillcast_refuse('An invitation is used or revoked once, and gains no time.');
    END IF;
    IF NEW.revoked_at IS NULL THEN RETURN NEW; END IF;
  END IF;
  IF NOT public.fillcast_actor_may('manage_users') THEN
    PERFORM public.fillcast_refuse('Inviting needs the right manage_users.');
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON users_invitation FOR EACH ROW EXECUTE FUNCTION public.fillcast_guard_invitation();
