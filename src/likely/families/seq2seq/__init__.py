"""Tokens that say what a source says, by an encoder and a decoder."""

from likely.families.seq2seq.family import Seq2seq, Seq2seqConfig

__all__ = ["Seq2seq", "Seq2seqConfig"]
