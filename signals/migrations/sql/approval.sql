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

-- A session locks a feed that it need not see, and reads nothing of it.
CREATE FUNCTION signals_lock_feed(feed bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM FROM signals_feed f WHERE f.id = feed FOR SHARE;
END $$;

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

-- Before a signal changes. The long comparison lists the columns that are the signal's content:
-- tests/signals/test_approval_guard.py fails if a new column is neither there nor known to be none.
CREATE FUNCTION signals_signal_approval() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  feed signals_feed;
  publishes boolean := NEW.published_at IS NOT NULL;
  approves boolean := NEW.approval = 'APPROVED';
BEGIN
  IF NEW.approved_by_id IS NOT NULL
      AND (TG_OP = 'INSERT' OR NEW.approved_by_id IS DISTINCT FROM OLD.approved_by_id)
      AND NOT (TG_OP = 'INSERT' AND NEW.origin = 'DRIFT') AND public.signals_is_tenant_caller() THEN
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
          NEW.order_type, NEW.open_price, NEW.stop_price, NEW.trail_distance, NEW.trail_pips,
          NEW.trail_percent, NEW.trail_atr, NEW.trail_atr_minutes, NEW.activation_price,
          NEW.not_before, NEW.close_when_signal_id, NEW.close_when_state, NEW.close_at,
          NEW.close_after_seconds, NEW.after_signal_id, NEW.after_state, NEW.oco_group, NEW.sl,
          NEW.target_prices,
          NEW.target_fractions, NEW.close_fraction, NEW.time_in_force, NEW.valid_until,
          NEW.max_slippage_pips, NEW.max_slippage_unit, NEW.execution_style, NEW.duration_seconds,
          NEW.slice_count, NEW.slice_variation, NEW.price_limit, NEW.catch_up, NEW.at_end,
          NEW.max_spread, NEW.max_spread_unit, NEW.break_even_target, NEW.break_even_profit,
          NEW.break_even_offset, NEW.trailing_distance, NEW.trailing_step,
          NEW.trailing_activation, NEW.stop_rule_unit, NEW.risk_category, NEW.provider_quantity,
          NEW.provider_equity, NEW.provider_currency)
          IS DISTINCT FROM
          (OLD.feed_id, OLD.action, OLD.refers_to_id, OLD.currency_pair, OLD.direction,
          OLD.order_type, OLD.open_price, OLD.stop_price, OLD.trail_distance, OLD.trail_pips,
          OLD.trail_percent, OLD.trail_atr, OLD.trail_atr_minutes, OLD.activation_price,
          OLD.not_before, OLD.close_when_signal_id, OLD.close_when_state, OLD.close_at,
          OLD.close_after_seconds, OLD.after_signal_id, OLD.after_state, OLD.oco_group, OLD.sl,
          OLD.target_prices,
          OLD.target_fractions, OLD.close_fraction, OLD.time_in_force, OLD.valid_until,
          OLD.max_slippage_pips, OLD.max_slippage_unit, OLD.execution_style, OLD.duration_seconds,
          OLD.slice_count, OLD.slice_variation, OLD.price_limit, OLD.catch_up, OLD.at_end,
          OLD.max_spread, OLD.max_spread_unit, OLD.break_even_target, OLD.break_even_profit,
          OLD.break_even_offset, OLD.trailing_distance, OLD.trailing_step,
          OLD.trailing_activation, OLD.stop_rule_unit, OLD.risk_category, OLD.provider_quantity,
          OLD.provider_equity, OLD.provider_currency) THEN
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
  SELECT f.* INTO feed FROM signals_feed f WHERE f.id = NEW.feed_id FOR SHARE;
  IF TG_OP = 'INSERT' AND NEW.origin = 'DRIFT' AND publishes AND NOT feed.is_public THEN
    NEW.reaches_admins := false;  -- adopted: a trade that its owner made, of that one account
    NEW.owner_only := true;
    RETURN NEW;
  END IF;
  IF NOT feed.is_approved AND NEW.approved_by_id IS NULL THEN
    RAISE check_violation USING MESSAGE =
      format('signal %s: neither it nor its feed %s is approved', NEW.id, feed.slug);
  END IF;
  IF approves AND NEW.approved_by_id IS NOT NULL AND public.signals_is_tenant_caller() THEN
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

-- A session of a tenant asks for approval and withdraws the request; it decides none.
CREATE FUNCTION signals_request_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF signals_is_tenant_session()
      AND (TG_OP = 'INSERT' AND NEW.outcome <> ''
        OR TG_OP = 'UPDATE' AND (OLD.outcome <> '' OR NEW.outcome <> 'WITHDRAWN'
          OR (NEW.feed_id, NEW.text, NEW.requested_by_id, NEW.requested_at, NEW.sentence)
            IS DISTINCT FROM
            (OLD.feed_id, OLD.text, OLD.requested_by_id, OLD.requested_at, OLD.sentence))) THEN
    RAISE insufficient_privilege USING MESSAGE = 'only an operator decides about an approval';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER signals_request_decision BEFORE INSERT OR UPDATE ON signals_approvalrequest
FOR EACH ROW EXECUTE FUNCTION signals_request_decision();
