"""PostgreSQL and Redis for a machine that has neither: started from wheels, stored under var/.

`servers.Servers` runs both; `postgres.PostgresServer` and `redis.RedisServer` one each;
`install_lock.InstallLock` lets one process at a time use them. This file imports nothing, since
most of these modules need POSIX and Windows workers import the package.
"""
