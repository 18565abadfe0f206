"""Settings: ranges, composition by Hydra, help, and readable errors."""
