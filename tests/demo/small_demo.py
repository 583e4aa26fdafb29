"""The demo's command with the accounts of fewer tenants; all else is as `manage.py demo` does it.

    python -m tests.demo.small_demo --once
"""

import sys

import manage
from demo import accounts
from demo.accounts import Account

every_account = accounts.demo_accounts


def fewer_accounts() -> list[Account]:
    """Return those of the tenants who act, and of others until each way to differ has one."""
    from demo.simulated_owners import AT_THE_BROKER, BY_API  # it needs the apps

    owners = {accounts.OPERATOR, *BY_API, *AT_THE_BROKER}
    for trait in accounts.TRAITS:
        having = [account.owner for account in every_account() if account.trait == trait]
        others = [owner for owner in having if owner not in owners]
        owners.update(others[: max(0, 1 - (len(having) - len(others)))])
    return [account for account in every_account() if account.owner in owners]


if __name__ == "__main__":
    accounts.demo_accounts = fewer_accounts
    sys.argv = ["manage.py", "demo", *sys.argv[1:]]
    manage.main()
