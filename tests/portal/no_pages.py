"""Addresses of the role matrix that answer no reader with a page of their own."""

NO_PAGES = {
    # parts of pages
    "portal:live", "portal:scan_alarm", "portal:account_live", "portal:account_test_state",
    "portal:preset_example",
    # buttons: they act on a POST, and lead to another page
    "portal:sign_out", "portal:account_test", "portal:account_pause", "portal:account_resume",
    "portal:account_switch_on", "portal:account_compare", "portal:account_own_prices",
    "portal:account_fallback",
    "portal:account_sample_close",
    "portal:subscription_pause", "portal:subscription_resume", "portal:subscription_twin_start",
    "portal:inbox_read", "portal:notification_read", "portal:publishing_withdraw",
    "portal:feed_record_show", "portal:telegram_pause", "portal:telegram_resume",
    "security:turn_off", "security:session_end", "security:email_resend",
    "security:channel_test", "security:channel_resend", "security:message_resend",
    "security:channel_rules", "security:push_renew",
    # files
    "portal:results_csv", "portal:history_csv", "portal:history_json", "portal:positions_csv",
    "portal:working_orders_csv", "portal:subscription_twin_csv", "security:trail_csv",
    "security:trail_json", "security:data_download", "security:push_worker",
    "portal:preflight_csv",
}  # fmt: skip
