"""Ranking: two outputs side by side, and somebody says which is better.

prompts       what models are asked                     making      candidates, made ahead in the background
outputs       what a model makes, as candidates         session     who is asked what next; answers, undo, resume
choosing      which pair says most                      view        a candidate as the page may show it
routes        the page's requests                       host        the page's server
results       what came of it, as text                  results_page   the same as one file of HTML

`session` knows nothing of pages: `likely rank --terminal` asks the same questions.
"""

from __future__ import annotations

from likely.server.rank.session import Rules, Session

__all__ = ["Rules", "Session"]
