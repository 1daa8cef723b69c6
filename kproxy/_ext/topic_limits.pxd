"""What requests of administrators must be like: safeguards on topics, their counts and their configs.

The API modules ask once an item is allowed. An item that breaks a safeguard is refused with 44 and a text; one that a
safeguard may override is built anew in ``opening.overrides``, which ``authorise.apply_edits`` takes up.
"""
from kproxy._ext.opening cimport Opening

# 0, or POLICY_VIOLATION. ``item`` is the mark of the item, ``name`` that of its topic. What is broken goes to
# ``opening.guarded``, the text of a refusal to ``opening.limit_texts``.
cdef int hold_to_limits(Opening opening, int operation, int item, const unsigned char* name, Py_ssize_t length) except -1
# Whether a topic of that name may be made in another way than is asked for: with the broker's own counts and configs.
cdef bint is_creation_free(Opening opening, const unsigned char* name, Py_ssize_t length) except -1
