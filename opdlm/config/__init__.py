"""Validated settings, one module a subject, so that a stage depends only on the settings it can read."""
