-- A visitor may add a user without rights: that is what signing up is. All other rules are as in
-- guards.sql, except that users may also switch themselves off, which deletes their login.
CREATE OR REPLACE FUNCTION public.fillcast_guard_user() RETURNS trigger
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
