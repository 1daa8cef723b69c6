"""What an answer lists of its own accord: a name that may not be seen is left out, without a word."""
from kproxy._ext.opening cimport Opening
from kproxy._ext.schema cimport Mark


# Takes out of the answer's array whatever may not be seen by the name in its ``field``. Where ``cluster_operation`` is not
# -1, that permission on the cluster stands for the one on a name.
cdef int hide_names(Opening opening, int array, int field, int resource, int operation, int cluster_operation,
                    list edits) except -1
# The same for topics in the array ``topics``, wherever it stands; ``field`` is that of the name.
cdef int hide_topics(Opening opening, Mark* topics, int field, list edits) except -1
