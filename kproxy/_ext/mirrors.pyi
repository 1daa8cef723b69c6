"""Refusals that name all that was asked for; see the .pxd."""
