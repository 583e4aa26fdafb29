"""Running an installation: doctor, stack, embedded servers, commands."""
