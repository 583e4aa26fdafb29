-- Rules of approval, enforced by the database even if the code fails: what approves a signal, and
-- for which accounts.
--
-- - An owner's own approval of a private feed covers the owner's accounts only. It ends when the
--   feed goes public or to another owner.
-- - If a feed goes public, loses its approval, changes its owner or is archived, its unpublished
--   signals are PENDING again. So does a change of the content of an approved signal,
--   except in the statement that publishes it: that is refused.
-- - No signal is approved or published unless its feed is approved, or an operator approved that
--   signal.
-- - The database writes which accounts an approval covers when the signal is published.
-- - A session of a tenant approves only the tenant's own private feeds, and sets no approver.
--
-- ADR 0020.

-- Whether this session may not approve what others own (users/migrations/sql/guards.sql).
CREATE FUNCTION public.signals_is_tenant_session() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT public.fillcast_is_web_session() AND NOT (
    public.fillcast_actor_may('approve_signals') OR public.fillcast_actor_may('manage_feeds'))
$$;

-- Before a feed changes: withdraw an approval that is no longer valid.
CREATE FUNCTION signals_feed_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.owner_id <> OLD.owner_id
        OR (NEW.is_public AND NEW.approved_by_owner) THEN
      NEW.is_approved := false;
    END IF;
  END IF;
  NEW.approved_by_owner := NEW.approved_by_owner AND NEW.is_approved;
  IF NEW.is_approved AND NOT NEW.approved_by_owner
      AND (TG_OP = 'INSERT' OR NOT OLD.is_approved OR OLD.approved_by_owner)
      AND signals_is_tenant_session() THEN
    RAISE insufficient_privilege USING MESSAGE = 'only an operator approves a feed';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER signals_feed_approval BEFORE INSERT OR UPDATE ON signals_feed
FOR EACH ROW EXECUTE FUNCTION signals_feed_approval();

-- After a feed changed: its unpublished signals lose an approval that is no longer valid.
CREATE FUNCTION signals_feed_reset_signals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE signals_signal SET approval = 'PENDING', approved_by_id = NULL, approved_at = NULL
  WHERE feed_id = NEW.id AND approval = 'APPROVED' AND published_at IS NULL
    AND cancelled_at IS NULL;
  RETURN NULL;
END $$;
CREATE TRIGGER signals_feed_reset_signals AFTER UPDATE ON signals_feed FOR EACH ROW
WHEN ((NEW.is_public AND NOT OLD.is_public)
  OR (OLD.is_approved AND NOT NEW.is_approved)
  OR (OLD.approved_by_owner AND NOT NEW.approved_by_owner)
  OR NEW.owner_id <> OLD.owner_id
  OR (NEW.archived_at IS NOT NULL AND OLD.archived_at IS NULL))
EXECUTE FUNCTION signals_feed_reset_signals();

-- The feed of a signal, locked. The session that writes a signal need not see its feed (row-level
-- security), but the rule holds for all.
CREATE FUNCTION signals_lock_feed(feed bigint) RETURNS signals_feed
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT f FROM signals_feed f WHERE f.id = feed FOR SHARE
$$;

-- Before a signal changes. The long comparison lists the columns that are the signal's content:
-- tests/signals/test_approval_guard.py fails if a new column is neither there nor known to be none.
CREATE FUNCTION signals_signal_approval() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  feed signals_feed;
  publishes boolean := NEW.published_at IS NOT NULL;
  approves boolean := NEW.approval = 'APPROVED';
BEGIN
  IF NEW.approved_by_id IS NOT NULL
      AND (TG_OP = 'INSERT' OR NEW.approved_by_id IS DISTINCT FROM OLD.approved_by_id)
      AND NOT (TG_OP = 'INSERT' AND NEW.origin = 'DRIFT') AND signals_is_tenant_session() THEN
    RAISE insufficient_privilege USING MESSAGE = 'only an operator approves a signal';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    IF OLD.published_at IS NOT NULL THEN
      IF (NEW.feed_id, NEW.reaches_admins, NEW.owner_only)
          IS DISTINCT FROM (OLD.feed_id, OLD.reaches_admins, OLD.owner_only) THEN
        RAISE check_violation USING MESSAGE =
          format('signal %s is published: its feed and its audience stay', NEW.id);
      END IF;
      RETURN NEW;
    END IF;
    IF OLD.approval = 'APPROVED' AND approves
        AND (NEW.feed_id, NEW.action, NEW.refers_to_id, NEW.currency_pair, NEW.direction,
          NEW.order_type, NEW.open_price, NEW.stop_price, NEW.sl, NEW.target_prices,
          NEW.target_fractions, NEW.close_fraction, NEW.time_in_force, NEW.valid_until,
          NEW.max_slippage_pips, NEW.max_slippage_unit, NEW.risk_category)
          IS DISTINCT FROM
          (OLD.feed_id, OLD.action, OLD.refers_to_id, OLD.currency_pair, OLD.direction,
          OLD.order_type, OLD.open_price, OLD.stop_price, OLD.sl, OLD.target_prices,
          OLD.target_fractions, OLD.close_fraction, OLD.time_in_force, OLD.valid_until,
          OLD.max_slippage_pips, OLD.max_slippage_unit, OLD.risk_category) THEN
      IF publishes THEN
        RAISE check_violation USING MESSAGE =
          format('signal %s was approved with another content: it is not published with this one',
            NEW.id);
      END IF;
      NEW.approval := 'PENDING';
      NEW.approved_by_id := NULL;
      NEW.approved_at := NULL;
      RETURN NEW;
    END IF;
    approves := approves AND OLD.approval <> 'APPROVED';
  END IF;
  IF NOT approves AND NOT publishes THEN
    RETURN NEW;
  END IF;
  feed := signals_lock_feed(NEW.feed_id);
  IF TG_OP = 'INSERT' AND NEW.origin = 'DRIFT' AND publishes AND NOT feed.is_public THEN
    NEW.reaches_admins := false;  -- adopted: a trade that its owner made, of that one account
    NEW.owner_only := true;
    RETURN NEW;
  END IF;
  IF NOT feed.is_approved AND NEW.approved_by_id IS NULL THEN
    RAISE check_violation USING MESSAGE =
      format('signal %s: neither it nor its feed %s is approved', NEW.id, feed.slug);
  END IF;
  IF approves AND NEW.approved_by_id IS NOT NULL AND signals_is_tenant_session() THEN
    RAISE insufficient_privilege USING MESSAGE = 'only an operator approves a signal';
  END IF;
  IF publishes THEN
    IF feed.archived_at IS NOT NULL THEN
      RAISE check_violation USING MESSAGE = format('the feed %s is archived', feed.slug);
    END IF;
    NEW.reaches_admins :=
      NEW.reaches_admins AND feed.is_approved AND NOT feed.approved_by_owner;
    NEW.owner_only := feed.approved_by_owner AND NEW.approved_by_id IS NULL;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER signals_signal_approval BEFORE INSERT OR UPDATE ON signals_signal
FOR EACH ROW EXECUTE FUNCTION signals_signal_approval();

-- Feeds and alert tokens are changed by their owner and by operators.
CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON signals_feed FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');

CREATE TRIGGER fillcast_guard_setting BEFORE INSERT OR UPDATE OR DELETE
  ON signals_feedtoken FOR EACH ROW EXECUTE FUNCTION fillcast_guard_setting('{}');
