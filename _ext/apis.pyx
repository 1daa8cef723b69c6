"""The table of served APIs. From version 4 on AddPartitionsToTxn is between brokers. SaslHandshake v0 is left out, because
raw tokens carry no framing to answer in.
"""
from libc.stdint cimport int16_t

from kproxy._ext cimport admin, cluster, consumer_groups, fetch, group_admin, groups, metadata, produce, refused
from kproxy._ext cimport share_fetch, topic_pages, topics, transactions
from kproxy._ext.opening cimport WAIT

from kproxy._ext import schema
from kproxy._ext.refused import REFUSED
from kproxy.errors import RefusalTooLongError, WireError

cdef enum:
    NEVER = 0x7fff

ctypedef int (*OpenRequest)(Opening) except -1
ctypedef int (*OpenResponse)(Opening, object) except -1

cdef struct Way:
    OpenRequest request
    OpenResponse response
    bint answers            # every answer is opened, because it carries offsets, addresses or names of its own accord

cdef Way[APIS] ways
cdef int16_t[APIS] refused_from

#: Key -> Kafka's name of the API, served or not.
NAMES = schema.names()
#: Key -> (lowest, highest) version kproxy serves.
SERVED = {}
#: Answered by kproxy itself, so no broker's range matters.
LOCAL = (17, 18, 36)


cdef int serve(int key, str name, int lowest, int highest, OpenRequest request, OpenResponse response,
               bint answers=False) except -1:
    assert NAMES[key] == name
    SERVED[key] = (lowest, highest)
    ways[key].request = request
    ways[key].response = response
    ways[key].answers = answers
    return 0


serve(0, "Produce", 3, 13, produce.open_request, produce.open_response, True)
serve(1, "Fetch", 4, 18, fetch.open_request, fetch.open_response, True)
serve(2, "ListOffsets", 1, 11, topics.open_request, topics.open_response)
serve(3, "Metadata", 0, 13, metadata.open_request, metadata.open_response, True)
serve(8, "OffsetCommit", 2, 10, groups.open_request, groups.open_response)
serve(9, "OffsetFetch", 1, 10, groups.open_request, groups.open_response, True)
serve(10, "FindCoordinator", 0, 6, groups.open_request, groups.open_response, True)
serve(11, "JoinGroup", 0, 9, groups.open_request, groups.open_response)
serve(12, "Heartbeat", 0, 4, groups.open_request, groups.open_response)
serve(13, "LeaveGroup", 0, 5, groups.open_request, groups.open_response)
serve(14, "SyncGroup", 0, 5, groups.open_request, groups.open_response)
serve(15, "DescribeGroups", 0, 6, group_admin.open_request, group_admin.open_response, True)
serve(16, "ListGroups", 0, 5, group_admin.open_request, group_admin.open_response, True)
serve(17, "SaslHandshake", 1, 1, NULL, NULL)
serve(18, "ApiVersions", 0, 5, NULL, NULL)
serve(19, "CreateTopics", 2, 7, topics.open_request, topics.open_response, True)
serve(20, "DeleteTopics", 1, 6, admin.open_request, admin.open_response, True)
serve(21, "DeleteRecords", 0, 2, admin.open_request, admin.open_response)
serve(22, "InitProducerId", 0, 5, topics.open_request, topics.open_response)
serve(23, "OffsetForLeaderEpoch", 2, 4, topics.open_request, topics.open_response)
serve(24, "AddPartitionsToTxn", 0, 3, transactions.open_request, transactions.open_response)
serve(25, "AddOffsetsToTxn", 0, 4, transactions.open_request, transactions.open_response)
serve(26, "EndTxn", 0, 5, transactions.open_request, transactions.open_response)
serve(28, "TxnOffsetCommit", 0, 6, transactions.open_request, transactions.open_response)
serve(32, "DescribeConfigs", 1, 4, admin.open_request, admin.open_response, True)
serve(33, "AlterConfigs", 0, 2, admin.open_request, admin.open_response)
serve(35, "DescribeLogDirs", 1, 5, cluster.open_request, cluster.open_response, True)
serve(36, "SaslAuthenticate", 0, 2, NULL, NULL)
serve(37, "CreatePartitions", 0, 3, admin.open_request, admin.open_response)
serve(42, "DeleteGroups", 0, 3, group_admin.open_request, group_admin.open_response)
serve(43, "ElectLeaders", 0, 2, cluster.open_request, cluster.open_response)
serve(44, "IncrementalAlterConfigs", 0, 1, admin.open_request, admin.open_response)
serve(45, "AlterPartitionReassignments", 0, 1, cluster.open_request, cluster.open_response)
serve(46, "ListPartitionReassignments", 0, 0, cluster.open_request, cluster.open_response)
serve(47, "OffsetDelete", 0, 0, group_admin.open_request, group_admin.open_response)
serve(48, "DescribeClientQuotas", 0, 1, cluster.open_request, cluster.open_response)
serve(49, "AlterClientQuotas", 0, 1, cluster.open_request, cluster.open_response)
serve(55, "DescribeQuorum", 0, 2, cluster.open_request, cluster.open_response, True)
serve(60, "DescribeCluster", 0, 2, admin.open_request, admin.open_response, True)
serve(61, "DescribeProducers", 0, 0, transactions.open_request, transactions.open_response)
serve(65, "DescribeTransactions", 0, 0, transactions.open_request, transactions.open_response, True)
serve(66, "ListTransactions", 0, 2, transactions.open_request, transactions.open_response, True)
serve(68, "ConsumerGroupHeartbeat", 0, 1, consumer_groups.open_request, consumer_groups.open_response)
serve(69, "ConsumerGroupDescribe", 0, 1, consumer_groups.open_request, consumer_groups.open_response, True)
serve(74, "ListConfigResources", 0, 1, cluster.open_request, cluster.open_response, True)
serve(75, "DescribeTopicPartitions", 0, 0, topic_pages.open_request, topic_pages.open_response, True)
serve(76, "ShareGroupHeartbeat", 1, 1, consumer_groups.open_request, consumer_groups.open_response)
serve(77, "ShareGroupDescribe", 1, 1, consumer_groups.open_request, consumer_groups.open_response, True)
serve(78, "ShareFetch", 1, 2, share_fetch.open_request, share_fetch.open_response, True)
serve(79, "ShareAcknowledge", 1, 2, share_fetch.open_request, share_fetch.open_response, True)
serve(90, "DescribeShareGroupOffsets", 0, 1, groups.open_request, groups.open_response)
serve(91, "AlterShareGroupOffsets", 0, 0, group_admin.open_request, group_admin.open_response)
serve(92, "DeleteShareGroupOffsets", 0, 0, group_admin.open_request, group_admin.open_response)


for _key in range(APIS):
    refused_from[_key] = REFUSED[_key][0] if _key in REFUSED else NEVER


cdef bint refuses(int key, int version) noexcept:
    return 0 <= key < APIS and version >= refused_from[key]


cdef int open_request(Opening opening) except -1:
    if refuses(opening.head.api_key, opening.head.api_version):
        return refused.open_request(opening)
    cdef OpenRequest way = ways[opening.head.api_key].request if 0 <= opening.head.api_key < APIS else NULL
    if way == NULL:
        raise WireError(f"api {opening.head.api_key} is not opened")
    opening.name_topics(False)
    if opening.treatment == WAIT:
        return 0
    try:
        return way(opening)
    except RefusalTooLongError:
        return opening.refuse_malformed()


cdef int open_response(Opening opening, object memo) except -1:
    cdef OpenResponse way = ways[opening.head.api_key].response if 0 <= opening.head.api_key < APIS else NULL
    if way == NULL:
        raise WireError(f"api {opening.head.api_key} is not opened")
    opening.name_topics(True)
    return way(opening, memo)


cdef bint opens_answers(int key) noexcept:
    return ways[key].answers
