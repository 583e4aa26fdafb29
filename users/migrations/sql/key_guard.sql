-- API keys: owner, secret and the key that one was made with stay, and so does a revocation. All
-- other rules are as in guards.sql.
CREATE OR REPLACE FUNCTION public.fillcast_guard_api_key() RETURNS trigger
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
