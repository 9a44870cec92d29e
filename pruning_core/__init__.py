"""Pruning core: criterion x granularity x allocation x schedule, with no user interface."""

__version__ = "0.1.0"
