"""The paper broker over TCP: a process of its own, and the adapter that talks to it.

Pure Python apart from `server` and the books behind it: the client knows no Django.
"""
