"""What an answer lists of its own accord; see the .pxd."""
from kproxy._ext.authorise cimport covered_by_cluster, find, find_top, replace_count, text
from kproxy._ext.authorise cimport topic_visible
from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE
from kproxy._ext.schema cimport Mark, Marks


cdef int hide_names(Opening opening, int array, int field, int resource, int operation, int cluster_operation,
                    list edits) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* items = find_top(opening, array)
    cdef Mark* item
    cdef Mark* name
    cdef int i = <int>(items - marks.items) + 1, kept = 0
    while i < items.until:
        item = &marks.items[i]
        name = find(opening, field, 1, i + 1, item.until)
        if (opening.visible(resource, operation, text(opening, name), name.length) or (
                cluster_operation != -1 and covered_by_cluster(opening, cluster_operation, resource, operation,
                                                               text(opening, name), name.length))):
            kept += 1
        else:
            edits.append((item.whole_at, item.whole_length, b""))
        i = item.until
    return replace_count(opening, items, kept, edits)


cdef int hide_topics(Opening opening, Mark* topics, int field, list edits) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* name
    cdef int i = <int>(topics - marks.items) + 1, kept = 0
    while i < topics.until:
        name = find(opening, field, topics.depth + 1, i + 1, marks.items[i].until)
        if topic_visible(opening, OPERATION_DESCRIBE, text(opening, name), name.length):
            kept += 1
        else:
            edits.append((marks.items[i].whole_at, marks.items[i].whole_length, b""))
        i = marks.items[i].until
    return replace_count(opening, topics, kept, edits)
