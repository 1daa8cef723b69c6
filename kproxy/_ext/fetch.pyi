"""Fetch (key 1); no Python face: the session calls it natively."""
