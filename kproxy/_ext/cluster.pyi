"""What is asked of a cluster as a whole; see the .pxd."""
