"""Codecs: one modality a module. Raw items <-> tensors of a space."""
