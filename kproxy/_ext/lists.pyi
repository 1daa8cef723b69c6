"""What an answer lists of its own accord; see the .pxd."""
