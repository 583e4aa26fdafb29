"""A broker that comes in a package of its own, as examples/tiny-broker shows it."""
