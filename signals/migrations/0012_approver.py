"""Two ways around the approval of a signal, closed (0008 has the rules).

A tenant's session names no approver on any signal, one that is approved already included. And the
content of an approved signal does not change in the statement that publishes it.
"""

from importlib import import_module

from django.db import migrations

SAYS = (
    "feed_id", "action", "refers_to_id", "currency_pair", "direction", "order_type", "open_price",
    "stop_price", "sl", "target_prices", "target_fractions", "close_fraction", "time_in_force",
    "valid_until", "max_slippage_pips", "max_slippage_unit", "risk_category",
)  # fmt: skip


def _columns(row: str) -> str:
    return ", ".join(f"{row}.{name}" for name in SAYS)


SIGNAL = f"""
CREATE OR REPLACE FUNCTION signals_signal_approval() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  feed signals_feed;
  publishes boolean := NEW.published_at IS NOT NULL;
  approves boolean := NEW.approval = 'APPROVED';
BEGIN
  IF NEW.approved_by_id IS NOT NULL
      AND (TG_OP = 'INSERT' OR NEW.approved_by_id IS DISTINCT FROM OLD.approved_by_id)
      AND NOT (TG_OP = 'INSERT' AND NEW.door = 'DRIFT') AND signals_is_tenant_session() THEN
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
        AND ({_columns("NEW")}) IS DISTINCT FROM ({_columns("OLD")}) THEN
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
"""


def _as_before() -> str:
    before: str = import_module("signals.migrations.0008_approval_triggers").SIGNAL
    function = before[: before.index("CREATE TRIGGER")]
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


class Migration(migrations.Migration):
    dependencies = [("signals", "0011_alert_addresses_of_keys")]
    operations = [migrations.RunSQL(SIGNAL, _as_before())]
