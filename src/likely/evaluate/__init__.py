"""Evaluation: is it true, varied, valid, new and private?"""
