"""What happened, for other programs: buses, a stream over HTTP, callbacks.

Everything is read from tables that trading has written anyway, by a cursor for each reader.
"""
