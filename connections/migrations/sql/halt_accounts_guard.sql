-- Kill switches. Whose accounts a halt acts on decides who may set it. What is open on them, exits
-- too, is held by HALTED, and cancelled or closed by the options: that is for the accounts' owner.
-- The owner of a feed does not own its followers' accounts, and may stop its entries only.
CREATE OR REPLACE FUNCTION public.fillcast_guard_halt() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  actor bigint := public.fillcast_actor();
  of_all CONSTANT text[] := ARRAY['ALL', 'BROKER_TYPE', 'SYMBOL'];
  of_own_accounts boolean;
  of_own_feed boolean;
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  -- It is set after this statement: a new one, one that is changed, one that is set again.
  IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND NEW.released_at IS NULL THEN
    of_own_accounts := coalesce(NEW.set_by_id = actor AND (NEW.user_id = actor
      OR NEW.connection_id IN (SELECT public.fillcast_my_connections())), false);
    of_own_feed := coalesce(NEW.set_by_id = actor
      AND NEW.feed_id IN (SELECT public.fillcast_my_feeds()), false);
    IF NOT (of_own_accounts OR of_own_feed AND NEW.mode = 'REDUCING')
        AND NOT public.fillcast_actor_may('set_kill_switch') THEN
      PERFORM public.fillcast_refuse('Halting others needs the right set_kill_switch.');
    END IF;
    -- A trading process carries these out for everyone.
    IF (NEW.cancel_entries OR NEW.flatten) AND NOT of_own_accounts
        AND NOT public.fillcast_actor_may('trade') THEN
      PERFORM public.fillcast_refuse('Cancelling and closing for others needs the right trade.');
    END IF;
  END IF;
  IF TG_OP <> 'INSERT' AND (OLD.scope = ANY(of_all) OR OLD.set_by_id IS DISTINCT FROM actor)
      AND NOT public.fillcast_actor_may('release_kill_switch') THEN
    PERFORM public.fillcast_refuse(
      'Releasing what others set needs the right release_kill_switch.');
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
