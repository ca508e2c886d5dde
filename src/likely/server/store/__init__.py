"""Judgements in a database: SQLite by default, PostgreSQL by URL. What is acknowledged is never lost.

with Store("judgements.db") as store:
    store.add_items(items)
    store.add(comparison)          # returned = on the disk
    judgements = store.judgements()
"""

from __future__ import annotations

from likely.server.store.store import Outline, Page, Sketch, Store

__all__ = ["Outline", "Page", "Sketch", "Store"]
