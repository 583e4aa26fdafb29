-- A session locks a feed that it need not see, and reads nothing of it. Before, the function that
-- locks gave the row of any private feed to every caller.

-- As signals_is_tenant_session(), where the function that asks runs as the owner of the tables: the
-- role that the session has taken on, else its login, is who calls.
CREATE FUNCTION public.signals_is_tenant_caller() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
BEGIN
  RETURN pg_has_role(caller, 'fillcast_web', 'USAGE')
    AND NOT pg_has_role(caller, 'fillcast_trade', 'USAGE')
    AND NOT public.fillcast_actor_may('approve_signals')
    AND NOT public.fillcast_actor_may('manage_feeds');
END $$;

-- Only a trigger calls it, so no session gets at what it reads.
DO $do$
DECLARE source text := pg_get_functiondef('signals_signal_approval'::regproc);
BEGIN
  IF position('signals_lock_feed(NEW.feed_id)' IN source) = 0
      OR position('signals_is_tenant_session()' IN source) = 0 THEN
    RAISE 'signals_signal_approval() is not as expected';
  END IF;
  source := replace(source, 'feed := signals_lock_feed(NEW.feed_id);',
    'SELECT f.* INTO feed FROM signals_feed f WHERE f.id = NEW.feed_id FOR SHARE;');
  source := replace(source, 'signals_is_tenant_session()', 'public.signals_is_tenant_caller()');
  EXECUTE source;
  ALTER FUNCTION signals_signal_approval() SECURITY DEFINER;
  ALTER FUNCTION signals_signal_approval() SET search_path = pg_catalog, public, pg_temp;
END $do$;

DROP FUNCTION signals_lock_feed(bigint);
CREATE FUNCTION signals_lock_feed(feed bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM FROM signals_feed f WHERE f.id = feed FOR SHARE;
END $$;
