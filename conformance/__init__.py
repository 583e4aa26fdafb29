"""What every broker adapter must do, as numbered checks that run over any of them.

The same checks run against a double, with trouble on demand, and against a real account.
"""
