"""Groups whose members a broker assigns (KIP-848); see the .pxd."""
