"""Families: one kind of model a module."""
