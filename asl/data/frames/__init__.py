"""Stored frames of clips for training: made if missing, and kept in device memory or on the disk."""
