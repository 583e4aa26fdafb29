"""Django signals to the apps above this one. Receivers run inside the sender's transaction."""

from django.dispatch import Signal

# Sent with `user: User` after the user's roles, superuser flag or active flag changed.
rights_changed = Signal()
