"""What this app announces to the apps above it. Receivers run inside the sender's transaction."""

from django.dispatch import Signal

# Sent with `user: User` after the user's roles, or whether they are a superuser or active, changed.
rights_changed = Signal()
