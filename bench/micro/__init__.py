"""Costs of single pieces, each printed with median and spread."""
