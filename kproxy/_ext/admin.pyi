"""No Python face: called through kproxy._ext.opening. See the .pxd."""
