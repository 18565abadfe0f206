"""Settings: their ranges, how Hydra composes them, and errors in words."""
