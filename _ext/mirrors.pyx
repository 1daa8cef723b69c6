"""Refusals that name all that was asked for; see the .pxd."""


cdef list mirrored(object asked, tuple mirror, int code):
    """The answer's items for all that was asked: each names what it is about, the innermost has the code."""
    _, sources, fields, inner = mirror
    answered = []
    for item in [one for source in sources.split() for one in items_at(asked, source.split("."))]:
        made = {name: item if source == "" else item[source] for name, source in fields.items()}
        if inner is None:
            made["error_code"] = code
        else:
            made[inner[0]] = mirrored(item, inner, code)
        answered.append(made)
    return answered


cdef list items_at(object asked, list path):
    found = [asked]
    for step in path:
        found = [one for item in found for one in item[step] or ()]
    return found
