"""What every broker adapter must do, as numbered checks that run on any of them.

The same checks run on a fake broker with injected faults, and on a real account.
"""
