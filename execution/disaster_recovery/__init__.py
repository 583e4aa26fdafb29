"""When the database may have forgotten its newest rows: a restore or a failover."""
