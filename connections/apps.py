from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    """The app `connections`."""

    name = "connections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the policy for resolved addresses, and the reader of instrument books."""
        from brokers import safe_connect
        from common.db.stored_times import register_stored_times
        from common.process.waiting_work import send_only_if_waiting
        from connections.account_settings import hosts
        from connections.health.due_tests import ANY_DUE
        from connections.key_setups import setups
        from connections.market_data.instrument_books import InstrumentBooks
        from connections.stored_times import TIMES
        from connections.twin_links import ANY_TWIN
        from signals.checks import listings
        from users.keys.setups import register_setups
        from users.people.data_export import register_export

        safe_connect.set_address_policy(hosts.may_resolve_to)
        register_stored_times(*TIMES)
        listings.use(InstrumentBooks())
        send_only_if_waiting("connections.run_due_tests", ANY_DUE)
        send_only_if_waiting("execution.wind_up_twins", ANY_TWIN)
        register_setups(setups)
        register_export("accounts", "connections.ExecutionConnection", "user_id")
        register_export("subscriptions", "connections.Subscription", "connection__user_id")
        register_export("paper_twins", "connections.SubscriptionTwin", "connection__user_id")
        register_export("presets", "connections.TradingPreset", "user_id")
        limits = "connections.LossLimit"
        register_export("loss_limits_of_presets", limits, "preset__user_id")
        register_export("loss_limits_of_feeds", limits, "subscription__connection__user_id")
        register_export("funding", "connections.FundingPayment", "connection__user_id")
        register_export("deposits", "connections.CashFlow", "connection__user_id")
        register_export("account_states", "connections.AccountSnapshot", "connection__user_id")
        subscriber = "subscription__connection__user_id"
        register_export("routes", "connections.SubscriptionRoute", subscriber)
        register_export("subscribed_times", "connections.SubscriptionInterval", subscriber)
        register_export("trading_pauses", "connections.TradingPause", "connection__user_id")
        register_export("halts", "connections.KillSwitch", "user_id")
        register_export("halts_of_accounts", "connections.KillSwitch", "connection__user_id")
        register_export("balances", "connections.AccountHistory", "connection__user_id")
