"""Produce (key 0); no Python face: the session calls it natively."""
