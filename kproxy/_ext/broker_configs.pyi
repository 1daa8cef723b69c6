"""Which configs of brokers are shown and which may be changed; see the .pxd."""
