"""A real guest: what it was told is on disk is on disk, whatever happens to it."""
