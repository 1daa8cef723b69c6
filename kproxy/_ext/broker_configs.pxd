"""Configs of brokers, their loggers and what they ask clients to measure: which values are shown, and which may be changed
from here.

A broker's configs hold addresses, paths and secrets in text, under hundreds of names, and newer brokers have more of them. So
a text is shown where its name is known to be harmless, a number or a yes or no where its name is not known to be part of an
address; anything else is blanked as brokers blank what is sensitive: null, and marked so.
"""

# Kafka's types of resources that have configs and belong to the cluster.
cdef enum:
    CONFIGS_BROKER = 4
    CONFIGS_BROKER_LOGGER = 8
    CONFIGS_CLIENT_METRICS = 16

cdef bint is_of_cluster(int kind) noexcept
# Blanks in one item of the answer, as ``schema.parse`` gives it, whatever is not shown. False: there was nothing.
cdef bint blank(int kind, dict result) except -1
cdef bint may_change(int kind, str name, object value) except -1
