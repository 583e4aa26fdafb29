"""Upgrades without a gap: the released code and the new one run on one database for minutes.

`manage.py check_migrations` refuses what would break the released code meanwhile, or make its
writers wait. docs/upgrades.md has the rules and the steps of an upgrade.
"""
