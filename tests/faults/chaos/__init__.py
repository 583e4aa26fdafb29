"""`make chaos`: the whole stack under load, and something breaks every few seconds.

`plan` draws what breaks from a seed, `stage` runs the stack, `trouble` breaks it, `load` trades on
it, `watching` sees how long things took, `last` whether a signal reaches everybody afterwards,
`__main__` tells what came of it. docs/chaos.md.
"""
