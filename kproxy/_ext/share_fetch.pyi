"""ShareFetch and ShareAcknowledge (KIP-932); see the .pxd."""
