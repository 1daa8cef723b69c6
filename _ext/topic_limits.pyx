# cython: wraparound=True
"""What requests of administrators must be like; see the .pxd.

    19 CreateTopics                     names, partitions, replication factor, configs
    37 CreatePartitions                 partitions
    33 AlterConfigs, 44 IncrementalAlterConfigs     configs
    20 DeleteTopics, 21 DeleteRecords   only whether such a request may be made

A fault is (what is wrong, how it is mended): a dict, a key of it and the value it gets, without a dict a config that is
added, or None where only who asks can mend it. What is left to the broker's own default cannot be seen here, so it is
within no bounds.
"""
import re

from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport OPERATION_CREATE, RESOURCE_TOPIC, Cell
from kproxy._ext.schema cimport Mark

from kproxy._ext import schema

cdef enum:
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    ALTER_CONFIGS = 33
    CREATE_PARTITIONS = 37
    INCREMENTAL_ALTER_CONFIGS = 44
    POLICY_VIOLATION = 44
    # What IncrementalAlterConfigs does to a config.
    SET = 0
    RESET = 1
    APPEND = 2
    SUBTRACT = 3
    MOST_FAULTS = 32        # of one item; what has more is not mended, and so refused
    MOST_SAID = 500         # characters of one fault: values are a client's, and are told to it and the audit

cdef dict REQUESTS = {
    CREATE_TOPICS: "create_topics", DELETE_TOPICS: "delete_topics", DELETE_RECORDS: "delete_records",
    ALTER_CONFIGS: "alter_configs", CREATE_PARTITIONS: "create_partitions", INCREMENTAL_ALTER_CONFIGS: "alter_configs",
}
#: The array of the request whose items have something to look at.
cdef dict ITEMS = {CREATE_TOPICS: "topics", CREATE_PARTITIONS: "topics", ALTER_CONFIGS: "resources",
                   INCREMENTAL_ALTER_CONFIGS: "resources"}
#: Configs that are without a limit below zero.
cdef frozenset UNLIMITED = frozenset(("retention.ms", "retention.bytes"))
#: Configs that rest on another one below zero.
cdef frozenset INHERITED = frozenset(("local.retention.ms", "local.retention.bytes"))
cdef object NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?", re.ASCII)


cdef int hold_to_limits(Opening opening, int operation, int item, const unsigned char* name,
                        Py_ssize_t length) except -1:
    cdef Cell* cell = opening.table.look_up(RESOURCE_TOPIC, operation, name, length, opening.now)
    cdef Mark* mark = &opening.marks.items[item]
    cdef int api = opening.head.api_key, version = opening.head.api_version
    if cell.safeguards == NULL:
        return 0
    values = {}
    if api in ITEMS:
        values = schema.parse_item(api, version, False, ITEMS[api], (opening.data + opening.body + mark.whole_at)[
            :mark.whole_length])
    told, texts, changed = judge(<tuple>cell.safeguards, api, values)
    for safeguard, action, why in told:
        opening.guarded.append((name[:length], safeguard, action, why, {}))
    if texts:
        if opening.limit_texts is None:
            opening.limit_texts = {}
        opening.limit_texts[name[:length]] = texts[0]
        return POLICY_VIOLATION
    if changed:
        if opening.overrides is None:
            opening.overrides = []
        opening.overrides.append((mark.whole_at, mark.whole_length,
                                  schema.build_item(api, version, False, ITEMS[api], values)))
    return 0


cdef bint is_creation_free(Opening opening, const unsigned char* name, Py_ssize_t length) except -1:
    cdef Cell* cell = opening.table.look_up(RESOURCE_TOPIC, OPERATION_CREATE, name, length, opening.now)
    return cell.safeguards == NULL or not any(
        [not found.observed and found.rule.action != "record" for found in <tuple>cell.safeguards])


def judge(tuple safeguards, int api, dict values):
    """([(safeguard, what is done, why)], texts of refusals, whether ``values`` were changed) of one item, by the
    safeguards in force in the order of their names.

    What may be overridden is mended first, so that a refusal is judged by what the broker would get; what is only recorded
    is judged by what was asked for."""
    told, texts, changed = [], [], False
    for found in safeguards:
        action = "record" if found.observed else found.rule.action
        faults = find_faults(found, api, values) if action != "refuse" else []
        if action == "record" and faults:
            told.append((found, action, say(faults)))
    for found in safeguards:
        if found.observed or found.rule.action != "override":
            continue
        faults = find_faults(found, api, values)
        mended = [fault for fault in faults if fault[1] is not None]
        for _, (target, key, value) in mended:
            mend(values, target, key, value)
        if mended:
            changed = True
            told.append((found, "override", say(mended)))
    for found in safeguards:
        if found.observed or found.rule.action == "record":
            continue
        faults = find_faults(found, api, values)
        if faults:
            why = say(faults)
            told.append((found, "refuse", why))
            rule = found.rule
            texts.append(f"{rule.message} ({why}; safeguard {rule.name})" if rule.message
                         else f"kproxy: {why} (safeguard {rule.name})")
    return told, texts, changed


cdef int mend(dict values, dict target, str key, object value) except -1:
    if target is None:
        values["configs"].append({"name": key, "value": value})
        return 0
    target[key] = value
    if "config_operation" in target:
        target["config_operation"] = SET
    return 0


cdef str say(list faults):
    said = "; ".join([why for why, _ in faults])
    return said if len(said) <= MOST_SAID else said[:MOST_SAID] + "…"


cdef list find_faults(object safeguard, int api, dict values):
    limits = safeguard.rule.admin
    faults = []
    if REQUESTS[api] in limits.requests:
        faults.append((f"{REQUESTS[api]} is not for this topic", None))
    if api == CREATE_TOPICS:
        if safeguard.misnamed:
            faults.append((f"the name must be like {' or '.join(limits.names)}", None))
        find_counts(limits, values, faults)
    elif api == CREATE_PARTITIONS and limits.partitions is not None:
        find_count(limits.partitions, "partitions", "count", values, values["assignments"] is not None, faults)
    if api in (CREATE_TOPICS, ALTER_CONFIGS, INCREMENTAL_ALTER_CONFIGS):
        find_configs(limits, api, values["configs"], faults)
    return faults


# ---- counts

cdef int find_counts(object limits, dict values, list faults) except -1:
    assigned = values["assignments"]
    if not assigned:
        if limits.partitions is not None:
            find_count(limits.partitions, "partitions", "num_partitions", values, False, faults)
        if limits.replication_factor is not None:
            find_count(limits.replication_factor, "replication factor", "replication_factor", values, False, faults)
        return 0
    if limits.partitions is not None and not is_within(limits.partitions, len(assigned)):
        faults.append((f"partitions: {len(assigned)} are assigned, {say_range(limits.partitions)} is required", None))
    if limits.replication_factor is not None:
        for count in [len(one["broker_ids"]) for one in assigned]:
            if not is_within(limits.replication_factor, count):
                faults.append((f"replication factor: {count} brokers are assigned, "
                               f"{say_range(limits.replication_factor)} is required", None))
                break
    return 0


cdef int find_count(object bounds, str what, str field, dict values, bint assigned, list faults) except -1:
    """-1 stands for the broker's own default, which nobody here knows."""
    count = values[field]
    if count == -1 or not is_within(bounds, count):
        given = "the default" if count == -1 else count
        faults.append((f"{what}: {given} is asked for, {say_range(bounds)} is required", None if assigned else (
            values, field, clamp(bounds, None if count == -1 else count))))
    return 0


cdef bint is_within(object bounds, object number) except -1:
    return (bounds.least is None or number >= bounds.least) and (bounds.most is None or number <= bounds.most)


cdef object clamp(object bounds, object number):
    """The nearest number within; of what is unknown the least, or else the most."""
    if number is None:
        return bounds.least if bounds.least is not None else bounds.most
    if bounds.least is not None and number < bounds.least:
        return bounds.least
    return bounds.most if bounds.most is not None and number > bounds.most else number


cdef str say_range(object bounds):
    if bounds.least is not None and bounds.most is not None:
        return f"{bounds.least} to {bounds.most}"
    return f"at least {bounds.least}" if bounds.least is not None else f"at most {bounds.most}"


# ---- configs

cdef int find_configs(object limits, int api, list configs, list faults) except -1:
    by_name = {limit.name: limit for limit in limits.configs}
    given = set()
    for entry in configs:
        if len(faults) >= MOST_FAULTS:
            return 0
        limit = by_name.get(entry["name"])
        if limit is not None:
            given.add(limit.name)
            find_config(limit, entry, faults)
        elif limits.other_configs == "refuse":
            faults.append((f"{shorten(entry['name'])} is not among the configs that may be set", None))
    for limit in limits.configs if api != INCREMENTAL_ALTER_CONFIGS else ():
        if limit.required and limit.name not in given:
            value = nearest(limit, None)
            faults.append((f"{limit.name} is not given, {say_limit(limit)} is required",
                           None if value is None else (None, limit.name, value)))
    return 0


cdef int find_config(object limit, dict entry, list faults) except -1:
    cdef int does = entry.get("config_operation", SET)
    why = find_wrong(limit, does, entry["value"])
    if why is None:
        return 0
    given = nearest(limit, entry["value"]) if does in (SET, RESET) else None
    wanted = "" if limit.forbidden else f", {say_limit(limit)} is required"
    faults.append((f"{limit.name} {why}{wanted}", None if given is None else (entry, "value", given)))
    return 0


cdef str find_wrong(object limit, int does, str value):
    """None where nothing is."""
    bounded = limit.least is not None or limit.most is not None
    if does == RESET:
        return "may not be reset" if limit.required else None
    if limit.forbidden:
        return "may not be set"
    if value is None:
        return "has no value"
    if does not in (SET, APPEND, SUBTRACT) or (bounded and does != SET):
        return "can only be set as a whole"
    if does == SUBTRACT:
        return "may lose none of its values" if limit.required else None
    if bounded:
        number = read_number(limit, value)
        right = number is not None and is_within(limit, number)
    else:
        right = not limit.allowed or is_allowed(limit, value)
    return None if right else f"is {shorten(value)}"


cdef str nearest(object limit, str value):
    """What is set in place of ``value``; None where nobody knows."""
    if limit.forbidden:
        return None
    if limit.least is not None or limit.most is not None:
        return f"{clamp(limit, None if value is None else read_number(limit, value))}"
    return limit.allowed[0] if len(limit.allowed) == 1 else None


cdef bint is_allowed(object limit, str value) except -1:
    """As one value, or as a list whose every element is allowed."""
    return value.strip() in limit.allowed or all([part.strip() in limit.allowed for part in value.split(",")])


cdef object read_number(object limit, str value):
    """As Kafka reads it; None for what is no number, or what rests on something that cannot be seen here."""
    written = value.strip()
    if NUMBER.fullmatch(written) is None:
        return None
    number = float(written) if "." in written else int(written)
    if number < 0 and limit.name in INHERITED:
        return None
    return float("inf") if number < 0 and limit.name in UNLIMITED else number


cdef str say_limit(object limit):
    if limit.least is not None or limit.most is not None:
        return say_range(limit)
    return " or ".join(limit.allowed) if limit.allowed else "a value"


cdef str shorten(str text):
    return repr(text if len(text) <= 60 else text[:60] + "…")
