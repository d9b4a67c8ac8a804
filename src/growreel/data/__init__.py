"""Clips on disk and in batches: finding sources, preparing a clip store, reading it."""
