-- What a session of the web role may not write of accounts, halts and their health
-- (users/migrations/sql/guards.sql has the functions and states why).

-- Accounts: owners stay, and claims are written by workers after a test that passed.
CREATE FUNCTION public.fillcast_guard_connection() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE actor bigint := public.fillcast_actor();
BEGIN
  IF NOT public.fillcast_is_web_session() THEN RETURN coalesce(NEW, OLD); END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  IF (NEW.claim <> '' AND (TG_OP = 'INSERT' OR NEW.claim <> OLD.claim))
      OR (NEW.credentials_claim <> '' AND (TG_OP = 'INSERT' OR NEW.credentials_claim <> OLD.credentials_claim)) THEN
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
  RETURN coalesce(NEW, OLD);
END $$;

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON connections_executionconnection FOR EACH ROW EXECUTE FUNCTION fillcast_guard_connection();

-- Kill switches. Whose accounts a halt acts on decides who may set it. What is open on them, exits
-- too, is held by HALTED, and cancelled or closed by the options: that is for the accounts' owner.
-- The owner of a feed does not own its followers' accounts, and may stop its entries only.
CREATE FUNCTION public.fillcast_guard_halt() RETURNS trigger
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

CREATE TRIGGER fillcast_guard BEFORE INSERT OR UPDATE OR DELETE
  ON connections_killswitch FOR EACH ROW EXECUTE FUNCTION fillcast_guard_halt();

-- Health: only trading processes find an account healthy. The web role may ask for a test and
-- forget results. Column grants say what it may write at all; the triggers refuse the values that
-- would let an account trade that no test and no comparison has found in order. Their conditions
-- are judged without a call, so workers, who write these rows all the time, do not pay for them.
REVOKE UPDATE, DELETE ON connections_connectionhealth FROM fillcast_web;
GRANT UPDATE (status, needs_test, reconciled_at, test_requested_at, monitored_since)
  ON connections_connectionhealth TO fillcast_web;

CREATE FUNCTION public.fillcast_guard_health() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF public.fillcast_is_web_session() THEN
    PERFORM public.fillcast_refuse('Only a test or a comparison finds an account in order.');
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER fillcast_guard BEFORE UPDATE ON connections_connectionhealth FOR EACH ROW WHEN (
  NEW.status <> OLD.status AND NEW.status <> 'UNTESTED'
  OR OLD.needs_test AND NOT NEW.needs_test
  OR NEW.reconciled_at IS NOT NULL AND NEW.reconciled_at IS DISTINCT FROM OLD.reconciled_at)
EXECUTE FUNCTION public.fillcast_guard_health();

CREATE TRIGGER fillcast_guard_new BEFORE INSERT ON connections_connectionhealth FOR EACH ROW WHEN (
  NEW.status <> 'UNTESTED' OR NOT NEW.needs_test OR NEW.reconciled_at IS NOT NULL)
EXECUTE FUNCTION public.fillcast_guard_health();

-- Settings are changed by their owner and by operators.
CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_executionconnection FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_tradingpreset FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_subscription FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_killswitch FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_dataconnection FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_maintenancewindow FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

-- Pauses are written by trading processes. The web role resumes, and forgets a deleted limit.
REVOKE UPDATE, DELETE ON connections_tradingpause FROM fillcast_web;
GRANT UPDATE (ended_at, ended_by_id, is_resumed_by_hand, limit_id)
  ON connections_tradingpause TO fillcast_web;
REVOKE UPDATE, DELETE ON connections_accounthistory FROM fillcast_web;
REVOKE UPDATE, DELETE ON connections_cashflow FROM fillcast_web;

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_losslimit FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_tradingpause FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_cashflow FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_decisionprovider FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON connections_newscalendar FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
