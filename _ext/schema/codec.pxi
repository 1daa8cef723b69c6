# The facts as Python objects, and the cold codec over them. Included into schema.pyx.

from kproxy.errors import WireError
from struct import pack, unpack

cdef dict MESSAGES = {}         # (api key, is response) -> Message
cdef list NAMES = [""]          # field id -> name; the ids are those of kproxy._ext.fields


class Span:
    """Versions ``low`` to ``high``, both included, from text as the schemas write it: "3", "3+", "0-12" or "none"."""

    __slots__ = ("high", "low")

    def __init__(self, text):
        if text == "none":
            self.low, self.high = 1, 0
        elif text.endswith("+"):
            self.low, self.high = int(text[:-1]), MAX_VERSION
        else:
            low, _, high = text.partition("-")
            self.low, self.high = int(low), int(high or low)

    def __contains__(self, version):
        return self.low <= version <= self.high


class Field:
    """One field of a message, in every version it has."""

    __slots__ = ("default", "fields", "id", "marked", "name", "nullable", "tag", "tagged", "type", "versions")

    def __init__(self, words):
        facts = dict(word.split("=", 1) for word in words[3:] if word != "!")
        self.name, self.type = words[:2]
        self.versions = Span(words[2])
        self.nullable = Span(facts.get("nullable", "none"))
        tag, _, tagged = facts.get("tag", "-1:none").partition(":")
        self.tag, self.tagged = int(tag), Span(tagged)
        self.marked = "!" in words
        self.default = self.read_default(facts.get("default"))
        self.fields = []

    def read_default(self, text):
        if text == "null":
            return None
        if self.type == "struct" or self.type.startswith("[]"):
            return {} if self.type == "struct" else []
        if self.type == "string":
            return text or ""
        if self.type == "bool":
            return text == "true"
        if self.type in ("bytes", "records"):
            return b""
        if self.type == "uuid":
            return bytes(16)
        return 0.0 if self.type == "float64" else int(text or 0)

    def at(self, version):
        return version in self.versions

    def is_tagged(self, version):
        return version in self.tagged and version in self.versions

    def is_nullable(self, version):
        return version in self.nullable


class Message:
    """A request or a response with its fields."""

    __slots__ = ("fields", "flexible", "high", "low", "name", "unstable")

    def __init__(self, words):
        self.name = words[2]
        valid = Span(words[3])
        self.low, self.high = valid.low, valid.high
        self.flexible = Span(words[4])
        self.unstable = "unstable" in words
        self.fields = []

    def is_flexible(self, version):
        return version in self.flexible


def load_facts():
    above = []
    for line in FACTS.strip().splitlines():
        words = line.split()
        depth = len(line) - len(line.lstrip())
        node = Field(words) if depth else Message(words)
        del above[depth:]
        if depth:
            above[-1].fields.append(node)
        else:
            MESSAGES[int(words[0]), words[1] == "response"] = node
        above.append(node)
    fields = [field for message in MESSAGES.values() for field in every_field(message)]
    NAMES.extend(sorted({field.name for field in fields}))
    ids = {name: at for at, name in enumerate(NAMES)}
    for field in fields:
        field.id = ids[field.name]


def every_field(node):
    for field in node.fields:
        yield field
        yield from every_field(field)


load_facts()


def versions(int api_key):
    """(lowest, highest) version the codec knows. A version Kafka still calls unstable does not count.
    Raises KeyError for an API that is not served."""
    message = MESSAGES[api_key, False]
    return message.low, message.high - message.unstable


def names():
    """API key -> Kafka's name of the API."""
    return {key: message.name.removesuffix("Request") for (key, response), message in MESSAGES.items() if not response}


def field_names():
    """Field id -> name, for tests and for reading marks."""
    return dict(enumerate(NAMES[1:], 1))


def served_messages():
    """Every (api key, is response, version) the codec knows, unstable versions included."""
    return [(api_key, response, version) for (api_key, response), message in sorted(MESSAGES.items())
            for version in range(message.low, message.high + 1)]


def fields_of(int api_key, bint response):
    """The facts of a message's fields, for test generators: objects with name, type, fields, at(v), is_tagged(v), …"""
    return MESSAGES[api_key, response].fields


def flexible(int api_key, int version):
    """Whether this version writes compact lengths and tag sections."""
    return MESSAGES[api_key, False].is_flexible(version)


cdef object message_of(int api_key, int version, bint response):
    message = MESSAGES.get((api_key, response))
    if message is None or not message.low <= version <= message.high:
        raise WireError(f"api {api_key} version {version} is not served")
    return message


# ---- building

def build(int api_key, int version, bint response, dict values not None):
    """A body from field names in snake_case; what is missing takes the schema's default.

    Strings are ``str`` or UTF-8 ``bytes``, uuids 16 bytes. A tagged field is written when ``values`` has it and it is
    not None. A field that only other versions have is left out; a name no version has raises ValueError, as does a
    null or a number that does not fit. Raises WireError for a version that is not served.
    """
    message = message_of(api_key, version, response)
    out = bytearray()
    write_fields(out, message, message.fields, version, message.is_flexible(version), values)
    return bytes(out)


def build_item(int api_key, int version, bint response, str path not None, dict values not None):
    """One element of the array at a dotted path, such as ``responses.partition_responses``. Errors as in ``build``."""
    message = message_of(api_key, version, response)
    node = node_at(message, path)
    out = bytearray()
    write_fields(out, node, node.fields, version, message.is_flexible(version), values)
    return bytes(out)


cdef object node_at(object message, str path):
    node = message
    for step in path.split("."):
        node = next((field for field in node.fields if field.name == step), None)
        if node is None:
            raise ValueError(f"{message.name} has no {path}")
    return node


cdef int write_fields(bytearray out, object node, list fields, int version, bint flexible, dict values) except -1:
    for name in values:
        if name != "_tags" and not any([field.name == name for field in fields]):
            raise ValueError(f"{node.name} has no field {name}")
    tags = list(values.get("_tags", ()))
    for field in fields:
        if not field.at(version):
            continue
        if not field.is_tagged(version):
            write_value(out, field, field.type, version, flexible, values.get(field.name, field.default))
        elif values.get(field.name) is not None or (field.name in values and field.is_nullable(version)):
            content = bytearray()
            write_value(content, field, field.type, version, flexible, values[field.name])
            tags.append((field.tag, bytes(content)))
    if flexible:
        tags.sort()
        write_uvarint(out, len(tags))
        for tag, content in tags:
            write_uvarint(out, tag)
            write_uvarint(out, len(content))
            out += content
    return 0


cdef int write_value(bytearray out, object field, str type, int version, bint flexible, object value) except -1:
    if type.startswith("[]"):
        write_length(out, field, version, flexible, 4, None if value is None else len(value))
        for one in value or ():
            write_value(out, field, type[2:], version, flexible, one)
    elif type == "struct":
        nullable = type == field.type and field.is_nullable(version)    # Elements of an array are never null.
        if value is None and not nullable:
            raise ValueError(f"{field.name} may not be null in version {version}")
        if nullable:
            out.append(0xff if value is None else 1)
        if value is not None:
            write_fields(out, field, field.fields, version, flexible, value)
    elif type in ("string", "bytes", "records"):
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        write_length(out, field, version, flexible, 2 if type == "string" else 4, None if data is None else len(data))
        out += data or b""
    elif type == "uuid":
        if len(value) != 16:
            raise ValueError(f"{field.name}: a uuid has 16 bytes")
        out += value
    elif type == "float64":
        out += pack(">d", value)
    else:
        try:
            out += int(value).to_bytes(SIZES[type], "big", signed=type != "uint16")
        except (OverflowError, TypeError) as error:
            raise ValueError(f"{field.name}: {value!r} is not an {type}") from error
    return 0


cdef int write_length(bytearray out, object field, int version, bint flexible, int size, object length) except -1:
    if length is None and not field.is_nullable(version):
        raise ValueError(f"{field.name} may not be null in version {version}")
    if flexible:
        write_uvarint(out, 0 if length is None else length + 1)
    elif length is None:
        out += b"\xff" * size
    else:
        if length >= 1LL << (size * 8 - 1):
            raise ValueError(f"{field.name} is too long")
        out += (<object>length).to_bytes(size, "big")
    return 0


cdef int write_uvarint(bytearray out, object value) except -1:
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return 0


# ---- parsing

def parse(int api_key, int version, bint response, const unsigned char[::1] body not None):
    """The fields of a body by name. ``build`` gives the same bytes again, unless lengths were written with more bytes
    than they need.

    A known tagged field is there only if the bytes have it; unknown tags are under ``_tags`` as (tag, bytes). Bytes of
    a string that are not UTF-8 become surrogate escapes. Raises WireError when the body is not what the schema says.
    """
    message = message_of(api_key, version, response)
    cdef Cursor c
    c.at = &body[0] if body.shape[0] else <const unsigned char*>b""
    c.end = c.at + body.shape[0]
    c.bad = False
    values = read_fields(&c, message.fields, version, message.is_flexible(version))
    if c.bad or c.at != c.end:
        raise WireError(f"{message.name} version {version}: the body is not what the schema says")
    return values


def parse_item(int api_key, int version, bint response, str path not None, const unsigned char[::1] item not None):
    """One element of the array at a dotted path, as ``parse`` reads a body."""
    message = message_of(api_key, version, response)
    cdef Cursor c
    c.at = &item[0] if item.shape[0] else <const unsigned char*>b""
    c.end = c.at + item.shape[0]
    c.bad = False
    values = read_fields(&c, node_at(message, path).fields, version, message.is_flexible(version))
    if c.bad or c.at != c.end:
        raise WireError(f"{message.name} version {version}: an item is not what the schema says")
    return values


cdef dict read_fields(Cursor* c, list fields, int version, bint flexible):
    cdef dict values = {}
    for field in fields:
        if field.at(version) and not field.is_tagged(version) and not c.bad:
            values[field.name] = read_value(c, field, field.type, version, flexible)
    if flexible and not c.bad:
        read_tags(c, fields, version, values)
    return values


cdef int read_tags(Cursor* c, list fields, int version, dict values) except -1:
    cdef uint32_t count = read_uvarint(c), n
    cdef int64_t last = -1, tag, size
    cdef Cursor inner
    for n in range(count):
        tag = read_uvarint(c)
        size = read_uvarint(c)
        inner.at = c.at
        field = next((one for one in fields if one.tag == tag), None)
        if tag <= last or tag > LAST_TAG or not skip(c, size) or (field is not None and not field.is_tagged(version)):
            c.bad = True
        if c.bad:
            break
        last = tag
        inner.end = c.at
        inner.bad = False
        if field is None:
            values.setdefault("_tags", []).append((tag, inner.at[:size]))
            continue
        values[field.name] = read_value(&inner, field, field.type, version, True)
        if inner.bad or inner.at != inner.end:
            c.bad = True
            break
    return 0


cdef object read_value(Cursor* c, object field, str type, int version, bint flexible):
    cdef int64_t length
    cdef const unsigned char* at
    if type == "struct":
        if type == field.type and field.is_nullable(version):
            at = c.at
            if not skip(c, 1) or at[0] == 0xff:
                return None
            c.bad |= at[0] != 1
        return read_fields(c, field.fields, version, flexible)
    if type in SIZES:
        at = c.at
        if not skip(c, SIZES[type]):
            return None
        if type == "uuid":
            return at[:16]
        if type == "float64":
            return unpack(">d", at[:8])[0]
        number = int.from_bytes(at[:c.at - at], "big", signed=type != "uint16")
        return bool(number) if type == "bool" and number in (0, 1) else number
    if flexible:
        length = <int64_t>read_uvarint(c) - 1
    else:
        length = read_i16(c) if type == "string" else read_i32(c)
    if length < 0 and (length < -1 or not field.is_nullable(version)):
        c.bad = True
    if c.bad or length < 0:
        return None
    if type.startswith("[]"):
        return read_array(c, field, type[2:], version, flexible, length)
    at = c.at
    if not skip(c, length):
        return None
    return at[:length].decode("utf-8", "surrogateescape") if type == "string" else at[:length]


cdef list read_array(Cursor* c, object field, str type, int version, bint flexible, int64_t count):
    cdef list items = []
    cdef int64_t n
    least = element_size(field, version, flexible)[0]
    if count > (c.end - c.at) // least:
        c.bad = True
    for n in range(count):
        if c.bad:
            break
        items.append(read_value(c, field, type, version, flexible))
    return items
