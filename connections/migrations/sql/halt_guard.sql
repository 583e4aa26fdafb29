-- Kill switches: of all accounts, a broker type, a symbol and of others by right.
CREATE OR REPLACE FUNCTION public.fillcast_guard_halt() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  actor bigint := public.fillcast_actor();
  of_all CONSTANT text[] := ARRAY['ALL', 'BROKER_TYPE', 'SYMBOL'];
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF TG_OP = 'INSERT' AND (NEW.scope = ANY(of_all) OR NEW.set_by_id IS DISTINCT FROM actor)
      AND NOT public.fillcast_actor_may('set_kill_switch') THEN
    PERFORM public.fillcast_refuse('Halting others needs the right set_kill_switch.');
  END IF;
  -- A trading process carries these out for everyone: a user without the right may only cancel and
  -- close on accounts of their own.
  IF TG_OP <> 'DELETE' AND (NEW.cancel_entries OR NEW.flatten)
      AND (NEW.scope = ANY(of_all) OR NEW.scope = 'FEED' OR NEW.set_by_id IS DISTINCT FROM actor)
      AND (TG_OP = 'INSERT' OR (NEW.scope, NEW.cancel_entries, NEW.flatten, NEW.carried_out_at)
        IS DISTINCT FROM (OLD.scope, OLD.cancel_entries, OLD.flatten, OLD.carried_out_at))
      AND NOT public.fillcast_actor_may('trade') THEN
    PERFORM public.fillcast_refuse('Cancelling and closing for others needs the right trade.');
  END IF;
  IF TG_OP <> 'INSERT' AND (OLD.scope = ANY(of_all) OR OLD.set_by_id IS DISTINCT FROM actor)
      AND NOT public.fillcast_actor_may('release_kill_switch') THEN
    PERFORM public.fillcast_refuse(
      'Releasing what others set needs the right release_kill_switch.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
