"""The demo's command with fewer accounts, and with workers that give way to no other process.

    python -m tests.demo.small_demo --once

All else is as `manage.py demo` does it. On a machine that also runs other tests, processes that
give way get so little time that the market begins again, twice: three times the processor time.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import manage
from config.env import Settings
from demo import accounts, stack_options
from demo.accounts import Account
from ops.stack.process import ProcessSpec

every_account = accounts.demo_accounts
usual_processes = stack_options.demo_processes


def fewer_accounts() -> list[Account]:
    """Return those of the tenants who act, and of others until each way to differ has one."""
    from demo.simulated_owners import AT_THE_BROKER, BY_API  # it needs the apps

    owners = {accounts.OPERATOR, *BY_API, *AT_THE_BROKER}
    for trait in accounts.TRAITS:
        having = [account.owner for account in every_account() if account.trait == trait]
        if owners.isdisjoint(having):
            owners.add(having[0])
    return [account for account in every_account() if account.owner in owners]


def eager_processes(settings: Settings) -> Sequence[ProcessSpec]:
    return [replace(process, niceness=0) for process in usual_processes(settings)]


if __name__ == "__main__":
    accounts.demo_accounts = fewer_accounts
    stack_options.demo_processes = eager_processes  # before the command imports it
    sys.argv = ["manage.py", "demo", *sys.argv[1:]]
    manage.main()
