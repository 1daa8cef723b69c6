"""What members of a classic consumer group tell each other through the broker (Kafka's ConsumerProtocol, versions 0 to 3), as
somebody else may see it: without the topics he may not describe."""
from kproxy._ext.opening cimport Opening

# The bytes to show instead of a member's subscription or assignment; None: they may be seen as they are. Bytes that are
# neither are shown as none at all.
cdef bytes show_subscription(Opening opening, bytes data)
cdef bytes show_assignment(Opening opening, bytes data)
