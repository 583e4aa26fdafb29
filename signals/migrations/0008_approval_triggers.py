"""What approves a signal, and for which accounts: held by the database, whatever the code does.

- An owner's own approval of a private feed covers the owner's accounts only. It ends when the feed
  goes public or to another owner.
- A feed that goes public, loses its approval, changes its owner or is archived sends its unpublished
  signals back to PENDING. So does a change of what an approved signal says.
- Nothing is approved or published unless its feed is approved, or an operator approved that signal.
- Which accounts an approval covers is written by the database when the signal is published.
- A tenant's session approves nothing but the tenant's own private feed.

ADR 0020.
"""

from django.db import migrations, models

# A tenant's request works as the web role with `fillcast.operator` off (users.tenancy).
TENANT_SESSION = """
CREATE FUNCTION signals_is_tenant_session() RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT row_security_active('signals_feed')
    AND NOT pg_has_role(current_user, 'fillcast_trade', 'USAGE')
    AND coalesce(current_setting('fillcast.operator', true), '') <> 'on'
$$
"""

FEED_BEFORE = """
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
FOR EACH ROW EXECUTE FUNCTION signals_feed_approval()
"""

FEED_AFTER = """
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
EXECUTE FUNCTION signals_feed_reset_signals()
"""

# Whoever writes a signal need not see its feed (row-level security), but the rule holds for all.
FEED_HELD = """
CREATE FUNCTION signals_feed_held(feed bigint) RETURNS signals_feed
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT f FROM signals_feed f WHERE f.id = feed FOR SHARE
$$
"""

SAYS = (
    "feed_id", "action", "refers_to_id", "currency_pair", "direction", "order_type", "open_price",
    "stop_price", "sl", "target_prices", "target_fractions", "close_fraction", "time_in_force",
    "valid_until", "max_slippage_pips", "max_slippage_unit", "risk_category",
)  # fmt: skip


def _columns(row: str) -> str:
    return ", ".join(f"{row}.{name}" for name in SAYS)


SIGNAL = f"""
CREATE FUNCTION signals_signal_approval() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  feed signals_feed;
  publishes boolean := NEW.published_at IS NOT NULL;
  approves boolean := NEW.approval = 'APPROVED';
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF OLD.published_at IS NOT NULL THEN
      IF (NEW.feed_id, NEW.reaches_admins, NEW.owner_only)
          IS DISTINCT FROM (OLD.feed_id, OLD.reaches_admins, OLD.owner_only) THEN
        RAISE check_violation USING MESSAGE =
          format('signal %s is published: its feed and its audience stay', NEW.id);
      END IF;
      RETURN NEW;
    END IF;
    IF OLD.approval = 'APPROVED' AND approves AND NOT publishes
        AND ({_columns("NEW")}) IS DISTINCT FROM ({_columns("OLD")}) THEN
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
  feed := signals_feed_held(NEW.feed_id);
  IF TG_OP = 'INSERT' AND NEW.door = 'DRIFT' AND publishes AND NOT feed.is_public THEN
    NEW.reaches_admins := false;  -- adopted: a trade that its owner made, of that one account
    NEW.owner_only := true;
    RETURN NEW;
  END IF;
  IF NOT feed.is_approved AND NEW.approved_by_id IS NULL THEN
    RAISE check_violation USING MESSAGE =
      format('signal %s: nobody has approved it or its feed %s', NEW.id, feed.slug);
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
FOR EACH ROW EXECUTE FUNCTION signals_signal_approval()
"""

DROP = """
DROP TRIGGER signals_signal_approval ON signals_signal;
DROP TRIGGER signals_feed_reset_signals ON signals_feed;
DROP TRIGGER signals_feed_approval ON signals_feed;
DROP FUNCTION signals_signal_approval();
DROP FUNCTION signals_feed_held(bigint);
DROP FUNCTION signals_feed_reset_signals();
DROP FUNCTION signals_feed_approval();
DROP FUNCTION signals_is_tenant_session()
"""


class Migration(migrations.Migration):
    dependencies = [("signals", "0007_approval")]
    operations = [
        migrations.AddConstraint(
            model_name="feed",
            constraint=models.CheckConstraint(
                condition=models.Q(("approved_by_owner", False))
                | models.Q(("is_approved", True), ("is_public", False)),
                name="own_approval_is_private",
            ),
        ),
        migrations.RunSQL(
            (TENANT_SESSION, FEED_BEFORE, FEED_AFTER, FEED_HELD, SIGNAL), DROP
        ),
    ]
