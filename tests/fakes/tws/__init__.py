"""A TWS that is no TWS: the socket protocol of server version 178, as ib_async 2.1 reads it."""
