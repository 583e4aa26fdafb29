"""`make chaos`: the whole stack under load, with a fault every few seconds. See docs/chaos.md.

`fault_plan` draws the faults from a seed, `stack_environment` runs the stack, `fault_injection`
causes the faults, `load` trades, `recovery_times` measures recoveries, `final_signal` checks that a
signal reaches all accounts afterwards, and `verdict` counts. `__main__` prints the result.
"""
