"""Checks of what is in a database, as tasks, over the hook of any SQL service."""
