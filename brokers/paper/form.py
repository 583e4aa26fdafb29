"""The connection form of a paper account."""

from brokers.connection_form import Form, OpenChangeRule, Secret, Setting, SettingType

REPLY_TIMEOUT = 10.0  # seconds to wait for an answer

FORM = Form(
    settings=(
        Setting(
            "position_mode",
            "Positions",
            "As the paper account was opened. If left open, it is read from the account.",
            SettingType.CHOICE,
            choices=(
                ("HEDGING", "Hedging: one for each entry"),
                ("NETTING", "Netting: one for each symbol"),
            ),
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "native_stops",
            "The broker keeps stops and targets",
            "Off: the account was opened without, and we watch the levels.",
            SettingType.SWITCH,
            default=True,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "reply_timeout",
            "Wait for an answer … seconds",
            "After that an order counts as unknown and is looked up: from 0.01 to 60 seconds.",
            SettingType.NUMBER,
            default=REPLY_TIMEOUT,
            minimum=0.01,
            maximum=60,
        ),
    ),
    secrets=(Secret("password", "Password", "Only if the paper account asks for one.", False),),
    label="Paper (nothing is real)",
    account="The number under which an operator has opened the paper account. Without one, open a"
    " paper account by one click instead.",
)
