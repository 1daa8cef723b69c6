# Compiles the table of facts into the programs that a walk runs. Included into schema.pyx.

cdef dict SIZES = {"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "int64": 8, "float64": 8, "uuid": 16}
cdef dict KINDS = {"string": STRING, "bytes": BYTES, "records": RECORDS}


cdef tuple size_of(list fields, int version, bint flexible):
    """(the least bytes these fields take, whether they always take exactly that)."""
    least, exact = 0, not flexible
    for field in fields:
        if not field.at(version) or field.is_tagged(version):
            continue
        if field.type in SIZES:
            least += SIZES[field.type]
        elif field.type == "struct" and not field.is_nullable(version):
            inner, always = size_of(field.fields, version, flexible)
            least, exact = least + inner, exact and always
        elif field.type == "struct":
            least, exact = least + 1, False
        else:
            exact = False
            least += 1 if flexible else 2 if field.type == "string" else 4
    return least + flexible, exact


cdef tuple element_size(field, int version, bint flexible):
    kind = field.type[2:]
    if kind == "struct":
        least, exact = size_of(field.fields, version, flexible)
        return max(least, 1), exact
    if kind in SIZES:
        return SIZES[kind], True
    return (1 if flexible else 2 if kind == "string" else 4), False


class Compiler:
    """Writes the ops of one body. An op is a dict here and becomes an ``Op`` when all of them are known."""

    def __init__(self, version, flexible):
        self.ops = []
        self.version = version
        self.flexible = flexible

    def add(self, code, field=None, **more):
        if code in (OP_ARRAY, OP_STRUCT) and more["depth"] >= MAX_NESTING:
            raise ValueError(f"{field.name}: deeper than a walk goes")
        op = dict(code=code, kind=0, field=0, arg=0, size=1, depth=0, wide=0, nullable=0, items=0)
        if field is not None:
            op["field"] = field.id
            op["nullable"] = field.is_nullable(self.version)
        op.update(more)
        self.ops.append(op)

    def compile_fields(self, fields, depth, marked):
        for field in fields:
            if field.at(self.version) and not field.is_tagged(self.version):
                self.compile_field(field, depth)
        if self.flexible:
            known = [field for field in fields if field.tag >= 0]
            self.add(OP_TAGS, None, kind=TAGS if marked else 0, depth=depth, arg=len(known))
            for field in known:
                self.add(OP_KNOWN_TAG if field.is_tagged(self.version) else OP_OTHER_TAG, field, arg=field.tag)

    def compile_field(self, field, depth):
        size = SIZES.get(field.type)
        if size and field.marked:
            self.add(OP_NUMBER, field, arg=size, depth=depth)
        elif size and self.ops and self.ops[-1]["code"] == OP_SKIP:
            self.ops[-1]["arg"] += size
        elif size:
            self.add(OP_SKIP, None, arg=size)
        elif field.type.startswith("[]"):
            self.compile_array(field, depth)
        elif field.type == "struct":
            self.compile_struct(field, depth)
        else:
            self.add(OP_TEXT, field, depth=depth, kind=KINDS[field.type] if field.marked else 0,
                     wide=field.type != "string")

    def compile_array(self, field, depth):
        kind = field.type[2:]
        least, exact = element_size(field, self.version, self.flexible)
        inner = any([one.marked for one in field.fields])
        shown = dict(kind=ARRAY if field.marked else 0, depth=depth, size=least, wide=1)
        if exact and not inner:
            self.add(OP_FIXED_ARRAY, field, **shown)
            return
        self.add(OP_ARRAY, field, items=kind == "struct" and field.marked, **shown)
        array = self.ops[-1]
        if kind == "struct":
            self.compile_fields(field.fields, depth + 1, field.marked)
        else:
            self.add(OP_TEXT, field, depth=depth, kind=KINDS[kind] if field.marked else 0, wide=kind != "string",
                     nullable=0)
        self.add(OP_NEXT)
        array["arg"] = len(self.ops)


    def compile_struct(self, field, depth):
        if not field.marked and not field.is_nullable(self.version):
            self.compile_fields(field.fields, depth, False)
            return
        self.add(OP_STRUCT, field, kind=STRUCT if field.marked else 0, depth=depth, items=field.marked,
                 size=max(size_of(field.fields, self.version, self.flexible)[0], 1))
        struct = self.ops[-1]
        self.compile_fields(field.fields, depth + 1, field.marked)
        self.add(OP_NEXT)
        struct["arg"] = len(self.ops)


cdef Op* compile_program(object message, int version) except NULL:
    compiler = Compiler(version, message.is_flexible(version))
    compiler.compile_fields(message.fields, 0, True)
    compiler.add(OP_END)
    cdef Op* ops = <Op*>malloc(len(compiler.ops) * sizeof(Op))
    if ops == NULL:
        raise MemoryError
    for at, op in enumerate(compiler.ops):
        ops[<int>at] = Op(op["code"], op["kind"], op["wide"], compiler.flexible, op["nullable"], op["items"],
                          op["field"], op["depth"], op["arg"], op["size"])
    return ops


cdef int compile_all() except -1:
    for api_key in range(MAX_KEY):
        for version in range(MAX_VERSION):
            FLEXIBLE[api_key][version] = -1
    for (api_key, response), message in MESSAGES.items():
        for version in range(message.low, message.high + 1):
            PROGRAMS[<bint>response][<int>api_key][<int>version] = compile_program(message, version)
            FLEXIBLE[<int>api_key][<int>version] = message.is_flexible(version)
    return 0


compile_all()
