"""What the models of `alerts` do not say: who reaches which rows (signals/migrations/_database.py)."""

from common.db.row_security import TENANT, tenant_rows, tenant_set

OF_MY_FEED = "feed_id IN (SELECT public.fillcast_my_feeds())"

OPERATIONS = [
    tenant_set(
        "fillcast_my_bots",
        "SETOF bigint",
        "SELECT b.id FROM public.alerts_telegrambot b JOIN public.signals_feed f"
        f" ON f.id = b.feed_id WHERE f.owner_id = {TENANT}",
    ),
    tenant_rows("alerts_incomingalert", OF_MY_FEED, write="false", add=OF_MY_FEED),
    tenant_rows("alerts_telegrambot", OF_MY_FEED),
    tenant_rows("alerts_telegramchat", "bot_id IN (SELECT public.fillcast_my_bots())"),
    tenant_rows("alerts_telegrammessage", "false", read=OF_MY_FEED),
]
