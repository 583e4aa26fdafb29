"""Row-level security of accounts and of everything an owner decides about them."""

from django.db import migrations

from common.row_security import (
    ANYBODY_KNOWN,
    MINE,
    MY_CONNECTION,
    MY_CONNECTIONS,
    TENANT,
    shared_rows,
    tenant_rows,
)

MY_SUBSCRIPTION = (
    "subscription_id IN (SELECT mine.id FROM connections_subscription mine"
    f" WHERE mine.connection_id IN ({MY_CONNECTIONS}))"
)
# A preset or price source without an owner is the operators', for everybody's use.
MINE_OR_FOR_ALL = f"{MINE} OR (user_id IS NULL AND {ANYBODY_KNOWN})"
MY_FEED = f"feed_id IN (SELECT mine.id FROM signals_feed mine WHERE mine.owner_id = {TENANT})"
HALTS_ME = (
    f"(scope = 'ALL' AND {ANYBODY_KNOWN}) OR {MINE} OR {MY_CONNECTION}"
    " OR feed_id IN (SELECT seen.id FROM signals_feed seen)"  # itself under its policy
)
# A tenant does not release what an operator set.
I_HALT = f"set_by_id = {TENANT} AND ({MINE} OR {MY_CONNECTION} OR {MY_FEED})"


class Migration(migrations.Migration):
    dependencies = [
        ("connections", "0001_initial"),
        ("signals", "0001_initial"),
        ("common", "0001_roles"),
    ]
    operations = [
        tenant_rows(
            "connections_executionconnection", f"{MINE} OR admin_id = {TENANT}", write=MINE
        ),
        tenant_rows("connections_connectionhealth", MY_CONNECTION),
        tenant_rows("connections_accountsnapshot", MY_CONNECTION, write="false"),
        tenant_rows("connections_mailbox", MY_CONNECTION),
        tenant_rows("connections_subscription", MY_CONNECTION),
        tenant_rows("connections_subscriptioninterval", MY_SUBSCRIPTION),
        tenant_rows("connections_tradingpreset", MINE, read=MINE_OR_FOR_ALL),
        tenant_rows("connections_dataconnection", MINE, read=MINE_OR_FOR_ALL),
        tenant_rows("connections_killswitch", "false", read=HALTS_ME, write=I_HALT),
        shared_rows("connections_instrument"),
    ]
