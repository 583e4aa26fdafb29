"""What the settings of a connection may be: forms of the broker types, their validation, and the
hosts that may be named."""
