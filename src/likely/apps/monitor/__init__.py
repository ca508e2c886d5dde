"""Watching machines and tables: what is strange, which sensor, when, and how long until failure."""

from likely.apps.monitor.model import Monitor

__all__ = ["Monitor"]
