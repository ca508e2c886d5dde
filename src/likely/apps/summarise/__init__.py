"""Summaries and headlines, every number and name checked against the source."""

from likely.apps.summarise.check import Problem
from likely.apps.summarise.sentence import Sentence
from likely.apps.summarise.summary import Flag, Summary, headline, summarise

__all__ = ["Flag", "Problem", "Sentence", "Summary", "headline", "summarise"]
