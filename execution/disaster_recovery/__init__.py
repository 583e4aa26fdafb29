"""Disaster recovery: after a restore or a failover that may have lost the newest rows."""
