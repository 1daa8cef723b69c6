# cython: wraparound=True
"""The administration of topics, and DescribeCluster.

    20 DeleteTopics 1-6        DESCRIBE and DELETE on each topic, else 29. Version 6 may name topics by id: one that is refused
                               is answered with its name only where DESCRIBE is allowed, one that is not there 100
    21 DeleteRecords 0-2       DELETE on each topic, else 29 with low watermark -1 on its partitions
    32 DescribeConfigs 1-4     DESCRIBE_CONFIGS on each topic (29) and group (30), and on the cluster (31) for brokers,
                               their loggers and clients' metrics; what tells of addresses, paths and secrets is blank
                               (broker_configs). An answer shows nothing that is not allowed at that moment
    37 CreatePartitions 0-3    ALTER on each topic, else 29
    44 IncrementalAlterConfigs 0-1    ALTER_CONFIGS on each topic (29) and group (30), and on the cluster (31) for the rest,
                               of which nothing is changed that would not be shown (44)
    33 AlterConfigs 0-2        the same; but it would take back all it does not name, so of the cluster it changes
                               nothing (44)
    60 DescribeCluster 0-2     brokers at this listener's addresses, operations from policy. Controllers are not shown:
                               another endpoint type is refused here (114, 115)

A missing approval is 44, with the request in the text where the answer has one. A policy is asked before anybody looks
whether a topic exists, and what is refused never reaches the broker, so neither an error nor its place in the answer
tells.
"""
from kproxy._ext.authorise cimport CLUSTER_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, INVALID_REQUEST
from kproxy._ext.authorise cimport REPEATS_FORWARDED, REPEATS_REFUSED_EACH, REPEATS_REFUSED_ONCE
from kproxy._ext.authorise cimport TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID, Gated, TextRule, TopicRule, add_refused
from kproxy._ext.authorise cimport answer_values, apply_edits, count_refused, find, find_top, id_of, is_unknown
from kproxy._ext.authorise cimport name_of, open_gated, show_brokers, show_cluster_operations, span, text, topic_code
from kproxy._ext.authorise cimport POLICY_VIOLATION, cluster_visible, topic_visible
from kproxy._ext.broker_configs cimport blank, is_of_cluster, may_change
from kproxy._ext.fields cimport F_BROKER_ID, F_BROKERS, F_ENDPOINT_TYPE, F_ERROR_CODE, F_ERROR_MESSAGE, F_NAME
from kproxy._ext.fields cimport F_RESOURCE_TYPE, F_RESOURCES, F_RESPONSES, F_RESULTS, F_TOPIC_ID, F_TOPIC_NAMES, F_TOPICS
from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport EFFECT_ALLOW, EFFECT_ASK, Cell
from kproxy._ext.policy_table cimport OPERATION_ALTER, OPERATION_ALTER_CONFIGS, OPERATION_DELETE, OPERATION_DESCRIBE
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE_CONFIGS, RESOURCE_CLUSTER, RESOURCE_GROUP, RESOURCE_TOPIC
from kproxy._ext.request cimport build_string
from kproxy._ext.schema cimport Mark, Marks
from kproxy._ext.topic_limits cimport hold_to_limits

from kproxy._ext import schema

cdef enum:
    DELETE_TOPICS = 20
    FIRST_BY_ID = 6             # DeleteTopics
    DELETE_RECORDS = 21
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    CREATE_PARTITIONS = 37
    INCREMENTAL_ALTER_CONFIGS = 44
    DESCRIBE_CLUSTER = 60
    # Kafka's types of resources that have configs.
    CONFIGS_TOPIC = 2
    CONFIGS_GROUP = 32
    # Endpoint types of DescribeCluster, and how a broker refuses one that is not its own.
    ENDPOINT_BROKER = 1
    ENDPOINT_CONTROLLER = 2
    MISMATCHED_ENDPOINT_TYPE = 114
    UNSUPPORTED_ENDPOINT_TYPE = 115
    LONGEST_NAME = 249          # of a topic; the name of a refused resource is told to the audit, and this much of it

cdef bytes CLUSTER = b"kafka-cluster"
cdef str NOT_CHANGED = "kproxy: settings that tell of addresses, paths, logins or secrets are not changed from here"
#: Kafka's own words, which name nobody.
cdef dict ENDPOINT_TEXT = {
    MISMATCHED_ENDPOINT_TYPE: "The request was sent to an endpoint of the wrong type.",
    UNSUPPORTED_ENDPOINT_TYPE: "Requests to this type of endpoint are not supported.",
}


cdef class RecordsRule(TopicRule):
    """DeleteRecords has no room for a text; a missing approval is told by its code alone. A partition that is named
    twice is answered once."""

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        cdef int code = topic_code(opening, self.operation, text(opening, name), name.length)
        return code if code != 0 else hold_to_limits(opening, self.operation, item, text(opening, name), name.length)

    cdef list gather(self, list refused):
        cdef dict topics = {}
        for topic in refused:
            partitions = topics.setdefault(topic["name"], {})
            for partition in topic["partitions"]:
                partitions.setdefault(partition["partition_index"], partition)
        return [{"name": name, "partitions": list(partitions.values())} for name, partitions in topics.items()]


cdef class ResourceRule(TextRule):
    """Configs of topics and groups, each under its own permission, and of what belongs to the cluster."""

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        cdef int kind = type_of(opening, item)
        if kind == CONFIGS_TOPIC:
            return TextRule.decide(self, opening, item, name)
        if kind == CONFIGS_GROUP:
            return 0 if opening.allowed(RESOURCE_GROUP, self.operation, text(opening, name), name.length) \
                else GROUP_AUTHORIZATION_FAILED
        if not is_of_cluster(kind):
            return INVALID_REQUEST
        return self.decide_on_cluster(opening, item, kind, name)

    cdef int decide_on_cluster(self, Opening opening, int item, int kind, Mark* name) except -1:
        cdef Cell* cell = opening.decide(RESOURCE_CLUSTER, self.operation, CLUSTER, len(CLUSTER))
        if cell.effect != EFFECT_ALLOW:
            return POLICY_VIOLATION if cell.effect == EFFECT_ASK else CLUSTER_AUTHORIZATION_FAILED
        if self.operation != OPERATION_ALTER_CONFIGS or changes_shown(opening, item, kind):
            return 0
        opening.tell_refusal(RESOURCE_CLUSTER, self.operation, text(opening, name), min(name.length, LONGEST_NAME),
                             "such settings of brokers are not changed through kproxy")
        return POLICY_VIOLATION

    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        cdef int kind = type_of(opening, item)
        if code == INVALID_REQUEST and kind not in (CONFIGS_TOPIC, CONFIGS_GROUP) and not is_of_cluster(kind):
            message = "Unexpected resource type."
        elif is_of_cluster(kind):
            message = self.refusal(opening, RESOURCE_CLUSTER, CLUSTER, len(CLUSTER), code)
            if code == POLICY_VIOLATION and opening.visible(RESOURCE_CLUSTER, self.operation, CLUSTER, len(CLUSTER)):
                message = NOT_CHANGED
        else:
            message = self.refusal(opening, RESOURCE_TOPIC if kind == CONFIGS_TOPIC else RESOURCE_GROUP,
                                   text(opening, name), name.length, code)
        return dict(self.values, resource_type=kind, resource_name=span(opening, name), error_code=code,
                    error_message=message)

    cdef object identity(self, Opening opening, int item, Mark* name):
        return type_of(opening, item), span(opening, name)


cdef bint changes_shown(Opening opening, int item, int kind) except -1:
    """Whether a request changes nothing but settings that are shown."""
    cdef Marks marks = opening.marks
    cdef Mark* value
    cdef int i
    if opening.head.api_key != INCREMENTAL_ALTER_CONFIGS:
        return False
    for i in range(item + 1, marks.items[item].until):
        if marks.items[i].field == F_NAME:
            value = &marks.items[i + 1]
            if not may_change(kind, span(opening, &marks.items[i]).decode("utf-8", "replace"),
                              span(opening, value).decode("utf-8", "replace") if value.length >= 0 else None):
                return False
    return True


cdef int type_of(Opening opening, int item) noexcept:
    cdef Mark* mark = &opening.marks.items[item]
    return <int>find(opening, F_RESOURCE_TYPE, mark.depth + 1, item + 1, mark.until).value


cdef class DeleteRule(TextRule):
    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        topic_id = id_of(opening, name)
        if topic_id is None:
            return TextRule.answer_item(self, opening, item, name, code)
        if is_unknown(name):
            return no_such_id(topic_id)
        answered = dict(TextRule.answer_item(self, opening, item, name, code), topic_id=topic_id)
        if not topic_visible(opening, OPERATION_DESCRIBE, text(opening, name), name.length):
            answered["name"] = None
        return answered


cdef dict no_such_id(bytes topic_id):
    return {"name": None, "topic_id": topic_id, "error_code": UNKNOWN_TOPIC_ID,
            "error_message": "This server does not host this topic ID."}


cdef TextRule DELETE_RULE = DeleteRule((OPERATION_DESCRIBE, OPERATION_DELETE), {}, REPEATS_REFUSED_ONCE)
cdef Gated DELETE_BY_ID = Gated((), topics=F_TOPICS, answered="responses", rule=DELETE_RULE)

# A resource that is left out is left as it is, in either API.
cdef Gated CHANGE_CONFIGS = Gated((), topics=F_RESOURCES, answered="responses", rule=ResourceRule(
    (OPERATION_ALTER_CONFIGS,), {}, REPEATS_REFUSED_EACH, "Each resource must appear at most once."))

cdef dict WAYS = {
    DELETE_TOPICS: Gated((), topics=F_TOPIC_NAMES, answered="responses", rule=DELETE_RULE),
    DELETE_RECORDS: Gated((), topics=F_TOPICS, rule=RecordsRule(
        OPERATION_DELETE, "partitions", {"low_watermark": -1})),
    DESCRIBE_CONFIGS: Gated((), topics=F_RESOURCES, answered="results", rule=ResourceRule(
        (OPERATION_DESCRIBE_CONFIGS,), {"configs": []}, REPEATS_FORWARDED)),
    CREATE_PARTITIONS: Gated((), topics=F_TOPICS, answered="results", rule=TextRule(
        (OPERATION_ALTER,), {}, REPEATS_REFUSED_ONCE)),
    ALTER_CONFIGS: CHANGE_CONFIGS,
    INCREMENTAL_ALTER_CONFIGS: CHANGE_CONFIGS,
}
# The answer's array by the name it is built with.
cdef dict ANSWERED = {"responses": F_RESPONSES, "results": F_RESULTS, "topics": F_TOPICS}


cdef int open_request(Opening opening) except -1:
    if opening.head.api_key == DESCRIBE_CLUSTER:
        return open_describe_cluster(opening)
    if opening.head.api_key == DELETE_TOPICS and opening.head.api_version >= FIRST_BY_ID:
        return open_delete_by_id(opening)
    return open_gated(opening, WAYS[opening.head.api_key])


cdef int open_response(Opening opening, object memo) except -1:
    cdef Gated way
    cdef list edits = []
    if opening.head.api_key == DESCRIBE_CLUSTER:
        return answer_describe_cluster(opening)
    way = WAYS[opening.head.api_key]
    if opening.head.api_key == DESCRIBE_CONFIGS:
        hide_results(opening, find_top(opening, F_RESULTS), way.rule, edits)
    elif opening.head.api_key == DELETE_TOPICS:
        forget_deleted(opening, find_top(opening, F_RESPONSES), edits)
    add_refused(opening, ANSWERED[way.answered], way.answered, memo, edits)
    return apply_edits(opening, edits)


cdef int hide_results(Opening opening, Mark* results, ResourceRule rule, list edits) except -1:
    """Policy may have changed while the broker answered. Configs of topics and groups are not read, they may be many."""
    cdef Marks marks = opening.marks
    cdef Mark* name
    cdef int i = <int>(results - marks.items) + 1, kind, code
    cdef dict values
    while i < results.until:
        name = name_of(opening, i)
        kind = type_of(opening, i)
        code = CLUSTER_AUTHORIZATION_FAILED
        if kind == CONFIGS_TOPIC:
            code = 0 if topic_visible(opening, rule.operation, text(opening, name), name.length) \
                else TOPIC_AUTHORIZATION_FAILED
        elif kind == CONFIGS_GROUP:
            code = 0 if opening.visible(RESOURCE_GROUP, rule.operation, text(opening, name), name.length) \
                else GROUP_AUTHORIZATION_FAILED
        elif is_of_cluster(kind) and cluster_visible(opening, rule.operation):
            code = 0
            values = schema.parse_item(DESCRIBE_CONFIGS, opening.head.api_version, True, "results", item_bytes(opening, i))
            if blank(kind, values):
                replace_result(opening, i, values, edits)
        if code != 0:
            replace_result(opening, i, rule.answer_item(opening, i, name, code), edits)
        i = marks.items[i].until
    return 0


cdef bytes item_bytes(Opening opening, int item):
    cdef Mark* mark = &opening.marks.items[item]
    return (opening.data + opening.body + mark.whole_at)[:mark.whole_length]


cdef int replace_result(Opening opening, int item, dict result, list edits) except -1:
    cdef Mark* mark = &opening.marks.items[item]
    edits.append((mark.whole_at, mark.whole_length, schema.build_item(
        DESCRIBE_CONFIGS, opening.head.api_version, True, "results", result)))
    return 0


# ---- DeleteTopics

cdef int open_delete_by_id(Opening opening) except -1:
    """As brokers do: where one topic has a name and an id, or neither, all are refused."""
    cdef Marks marks = opening.marks
    cdef Mark* topics = find_top(opening, F_TOPICS)
    cdef int i = <int>(topics - marks.items) + 1, at, said
    while i < topics.until:
        said = 0
        for at in range(i + 1, marks.items[i].until):
            if marks.items[at].field == F_NAME and (marks.items[at].length >= 0 or is_unknown(&marks.items[at])):
                said += 1
        if said != 1:
            count_refused(opening, topics.value)
            return refuse_deletion(opening)
        i = marks.items[i].until
    return open_gated(opening, DELETE_BY_ID)


cdef int refuse_deletion(Opening opening) except -1:
    asked = schema.parse(DELETE_TOPICS, opening.head.api_version, False, opening.data[opening.body:opening.length])
    return answer_values(opening, {"responses": [
        {"name": topic["name"], "topic_id": topic["topic_id"], "error_code": INVALID_REQUEST,
         "error_message": "A topic is named by its name or by its id."} for topic in asked["topics"]]})


cdef int forget_deleted(Opening opening, Mark* responses, list edits) except -1:
    """What is deleted has no name any more. A name that the client was not told before, and may no longer be told, is
    taken out of the answer with the broker's text, which may name it too."""
    cdef Marks marks = opening.marks
    cdef Mark* name
    cdef Mark* topic_id
    cdef Mark* words
    cdef int i = <int>(responses - marks.items) + 1, until
    cdef set names = set()
    while i < responses.until:
        until = marks.items[i].until
        name = find(opening, F_NAME, 1, i + 1, until)
        topic_id = find(opening, F_TOPIC_ID, 1, i + 1, until)
        if find(opening, F_ERROR_CODE, 1, i + 1, until).value in (0, UNKNOWN_TOPIC_ID):
            if topic_id == NULL:
                names.add(span(opening, name))
            else:
                opening.addresses.topic_ids.forget(span(opening, topic_id))
        if (topic_id != NULL and name.length >= 0 and opening.named and span(opening, topic_id) in opening.named
                and not topic_visible(opening, OPERATION_DESCRIBE, text(opening, name), name.length)):
            words = find(opening, F_ERROR_MESSAGE, 1, i + 1, until)
            edits.append((name.whole_at, name.whole_length, build_string(None, True)))
            edits.append((words.whole_at, words.whole_length, build_string(None, True)))
        i = until
    if names:
        opening.addresses.topic_ids.forget_names(names)
    return 0


# ---- DescribeCluster

cdef int open_describe_cluster(Opening opening) except -1:
    cdef Mark* endpoint = find_top(opening, F_ENDPOINT_TYPE)
    if endpoint == NULL or endpoint.value == ENDPOINT_BROKER:
        return 0
    return refuse_cluster(opening, MISMATCHED_ENDPOINT_TYPE if endpoint.value == ENDPOINT_CONTROLLER
                          else UNSUPPORTED_ENDPOINT_TYPE)


cdef int refuse_cluster(Opening opening, int code) except -1:
    return answer_values(opening, {"error_code": code, "error_message": ENDPOINT_TEXT.get(code)})


cdef int answer_describe_cluster(Opening opening) except -1:
    cdef int error = <int>find_top(opening, F_ERROR_CODE).value
    cdef list edits = []
    if error != 0:
        return refuse_cluster(opening, error)
    show_brokers(opening, find_top(opening, F_BROKERS), F_BROKER_ID, edits)
    show_cluster_operations(opening, edits)
    return apply_edits(opening, edits)
