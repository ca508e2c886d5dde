"""Alignment: what people prefer, learned and followed, in any modality.

`preference` holds judgements, `agreement` says how far they can be trusted, `ranking` what they say about models,
`exchange` reads and writes them. Nothing is imported before it is asked for.
"""
