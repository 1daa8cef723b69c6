"""Refusals that name all that was asked for, built from the request's values: for what nobody asks twice.

A mirror is (array of the answer, from which arrays of the request, {field of the answer: the request's}, the array inside or
None). The innermost items have the code. Numbers that stand alone in a request are the one field of their item, "".
"""

# The items of the answer's array, for a request as schema.parse gives it.
cdef list mirrored(object asked, tuple mirror, int code)
