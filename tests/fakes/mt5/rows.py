"""The named tuples of the real package, field by field in its order, and its constants.

Source: mql5.com/en/docs/python_metatrader5 (the examples print them), package 5.0.45 and later.
"""

from collections import namedtuple

AccountInfo = namedtuple("AccountInfo", (
    "login trade_mode leverage limit_orders margin_so_mode trade_allowed trade_expert margin_mode"
    " currency_digits fifo_close balance credit profit equity margin margin_free margin_level"
    " margin_so_call margin_so_so margin_initial margin_maintenance assets liabilities"
    " commission_blocked name server currency company"
))  # fmt: skip
TerminalInfo = namedtuple("TerminalInfo", (
    "community_account community_connection connected dlls_allowed trade_allowed tradeapi_disabled"
    " email_enabled ftp_enabled notifications_enabled mqid build maxbars codepage ping_last"
    " community_balance retransmission company name language path data_path commondata_path"
))  # fmt: skip
SymbolInfo = namedtuple("SymbolInfo", (
    "select visible time digits spread trade_calc_mode trade_mode trade_stops_level"
    " trade_freeze_level trade_exemode expiration_mode filling_mode order_mode bid ask point"
    " trade_tick_size trade_contract_size volume_min volume_max volume_step volume_limit"
    " margin_initial currency_base currency_profit currency_margin description name path"
))  # fmt: skip
Tick = namedtuple("Tick", "time bid ask last volume time_msc flags volume_real")
TradeOrder = namedtuple("TradeOrder", (
    "ticket time_setup time_setup_msc time_done time_done_msc time_expiration type type_time"
    " type_filling state magic position_id position_by_id reason volume_initial volume_current"
    " price_open sl tp price_current price_stoplimit symbol comment external_id"
))  # fmt: skip
TradePosition = namedtuple("TradePosition", (
    "ticket time time_msc time_update time_update_msc type magic identifier reason volume"
    " price_open sl tp price_current swap profit symbol comment external_id"
))  # fmt: skip
TradeDeal = namedtuple("TradeDeal", (
    "ticket order time time_msc type entry magic position_id reason volume price commission swap"
    " profit fee symbol comment external_id"
))  # fmt: skip
OrderSendResult = namedtuple("OrderSendResult", (
    "retcode deal order volume price bid ask comment request_id retcode_external request"
))  # fmt: skip
OrderCheckResult = namedtuple("OrderCheckResult", (
    "retcode balance equity profit margin margin_free margin_level comment request"
))  # fmt: skip
TradeRequest = namedtuple("TradeRequest", (
    "action magic order symbol volume price stoplimit sl tp deviation type type_filling type_time"
    " expiration comment position position_by"
))  # fmt: skip

ROWS = {
    "account_info": AccountInfo, "terminal_info": TerminalInfo, "symbol_info": SymbolInfo,
    "symbol_info_tick": Tick, "symbols_get": SymbolInfo, "orders_get": TradeOrder,
    "positions_get": TradePosition, "history_orders_get": TradeOrder,
    "history_deals_get": TradeDeal, "order_send": OrderSendResult, "order_check": OrderCheckResult,
}  # fmt: skip
LISTS = {
    "symbols_get",
    "orders_get",
    "positions_get",
    "history_orders_get",
    "history_deals_get",
}
