"""Clips on disk and in batches: the store, its writer, the pyramid, batches; the procedural shapes."""
