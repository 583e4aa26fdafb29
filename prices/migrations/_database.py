"""What the models of `prices` do not say: who reaches which rows, room for updates in a page."""

from django.db import migrations

from common.db.row_security import TENANT, tenant_rows, tenant_set

SEEN = "data_connection_id IN (SELECT public.fillcast_seen_sources())"
OF_MY_SOURCE = "data_connection_id IN (SELECT public.fillcast_my_sources())"

OPERATIONS = [
    tenant_set(
        "fillcast_my_sources",
        "SETOF bigint",
        f"SELECT own.id FROM public.connections_dataconnection own WHERE own.user_id = {TENANT}",
    ),
    *(
        tenant_rows(f"prices_{name}", "false", read=SEEN)
        for name in ("latestquote", "pricebar", "fallbackuse")
    ),
    *(
        tenant_rows(f"prices_{name}", OF_MY_SOURCE)
        for name in ("pushedquote", "pushedsymbol", "pushrefusal")
    ),
    migrations.RunSQL(
        "ALTER TABLE prices_latestquote SET (fillfactor = 50);"
        "ALTER TABLE prices_pushedsymbol SET (fillfactor = 50);"
        "ALTER TABLE prices_pricebar SET (fillfactor = 70)"
    ),
]
