"""Processes that end with the task that started them."""
