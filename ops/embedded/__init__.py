"""PostgreSQL and Redis for a machine that has neither: started from wheels, kept under var/.

`servers.Servers` has both; `postgres.PostgresServer` and `redis.RedisServer` each one;
`holding.Holding` lets one process at a time have them; `ready.announce_ready` is for whoever is
supervised. Imports nothing here: Windows has `ready`, but not what the others stand on.
"""
