"""Every text and every run of bytes that a broker can answer with: none passes unless somebody has said why it may.

A client asks who may do everything to what is called ``open`` and to the cluster, and a broker's answer names something
that is hidden from him, in one field at a time. Either that is gone when the answer leaves kproxy, or SHOWN says why it
may stay. A field that a later Kafka brings, or an API that is served from now on, is found by itself and fails until
somebody has looked at it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, NAMES, SERVED
from tests.support.answer_probes import CANARY, OPEN, Probe, ask, leaves, probes, told, trusting, values_of
from tests.support.desk import spanning

ASKED = "what the request named and was allowed; what was refused never reached the broker"
WORDS = "the broker's words on what it was asked, which was allowed; one that names more is taken out"
OWN = "what members of a group, or a client of it, say of themselves, for who may join or describe it"
FACT = "one of Kafka's own words: a state, a type, a strategy"
SHOWN = {
    r"(?:Produce|ListOffsets|OffsetCommit|CreateTopics|DeleteTopics|DeleteRecords|OffsetForLeaderEpoch|CreatePartitions"
    r"|AddPartitionsToTxn|TxnOffsetCommit|OffsetDelete|AlterPartitionReassignments|ElectLeaders|DescribeQuorum"
    r"|DescribeProducers|DescribeLogDirs|ListPartitionReassignments|AlterShareGroupOffsets|DeleteShareGroupOffsets)Response\.(?:topics|responses|results"
    r"|results\.topics|results_by_topic_v3_and_below|replica_election_results)\.(?:name|topic|topic_name)": ASKED,
    r"(?:Fetch|Metadata|OffsetFetch|DescribeTopicPartitions)Response\.(?:responses|topics|groups\.topics)\.(?:name|topic)":
        f"{ASKED}; one that may not be seen by now stands there with an error and nothing else",
    r"DescribeShareGroupOffsetsResponse\.groups\.topics\.topic_name": ASKED,
    r"(?:DescribeGroups|ConsumerGroupDescribe|OffsetFetch|DeleteGroups|ShareGroupDescribe|DescribeShareGroupOffsets)Response\.(?:groups|results)\.group_id"
    r"(?: \(all\))?": ASKED,
    r"DescribeTransactionsResponse\.transaction_states\.transactional_id": ASKED,
    r"FindCoordinatorResponse\.coordinators\.key": ASKED,
    r"(?:DescribeConfigs|AlterConfigs|IncrementalAlterConfigs)Response\.(?:results|responses)\.resource_name"
    r"(?: \(broker\))?": ASKED,
    r"ListTransactionsResponse\.unknown_state_filters": ASKED,
    r"AlterClientQuotasResponse\.entries\.entity\.\w+": ASKED,
    r"(?:AlterClientQuotas|AlterConfigs|AlterPartitionReassignments|ConsumerGroupDescribe|ConsumerGroupHeartbeat"
    r"|CreatePartitions|CreateTopics|DeleteGroups|DeleteTopics|DescribeClientQuotas|DescribeCluster|DescribeConfigs"
    r"|DescribeGroups|DescribeProducers|DescribeQuorum|ElectLeaders|FindCoordinator|IncrementalAlterConfigs"
    r"|ListPartitionReassignments|Produce|ShareGroupHeartbeat|ShareGroupDescribe|ShareFetch|ShareAcknowledge"
    r"|DescribeShareGroupOffsets|AlterShareGroupOffsets|DeleteShareGroupOffsets)Response\.(?:[\w.]+\.)?error_message"
    r"(?: \(all\))?": WORDS,
    r"ProduceResponse\.[\w.]+\.batch_index_error_message": WORDS,
    r"ShareFetchResponse\.[\w.]+\.acknowledge_error_message": WORDS,
    r"(?:Join|Sync|Leave|Describe)Group(?:s)?Response\.(?:groups\.)?(?:members\.)?(?:member_id|group_instance_id|leader"
    r"|client_id)": OWN,
    r"(?:Consumer|Share)Group(?:Describe|Heartbeat)Response\.(?:groups\.members\.)?(?:member_id|instance_id"
    r"|client_id)": OWN,
    r"JoinGroupResponse\.members\.metadata|SyncGroupResponse\.assignment": f"{OWN}; the leader assigns by it",
    r"OffsetFetchResponse\.(?:groups\.)?topics\.partitions\.metadata(?: \(all\))?": f"{OWN}; with an offset",
    r"(?:DescribeGroups|ConsumerGroupDescribe|ShareGroupDescribe)Response\.groups\.members\.client_host":
        "where a member comes from: kproxy's address, or its own where brokers are told (PROXY protocol)",
    r"(?:Metadata|DescribeCluster)Response\.brokers\.rack(?: \(all\))?"
    r"|(?:Produce|Fetch|ShareFetch|ShareAcknowledge)Response\.node_endpoints\.rack"
    r"|(?:Consumer|Share)GroupDescribeResponse\.groups\.members\.rack_id":
        "a zone, by which followers are chosen; no address",
    r"(?:Metadata|DescribeCluster)Response\.cluster_id(?: \(all\))?":
        "an id by which clients know a cluster again; no address",
    r"(?:JoinGroup|SyncGroup|DescribeGroups|ListGroups|ConsumerGroupDescribe|ShareGroupDescribe)Response\.(?:groups\.)?(?:protocol_type"
    r"|protocol_name|protocol_data|group_state|group_type|assignor_name)": FACT,
    r"(?:List|Describe)TransactionsResponse\.transaction_states\.transaction_state": FACT,
    r"DescribeConfigsResponse\.results\.configs\.(?:synonyms\.)?name(?: \(broker\))?": "settings of Kafka, by name",
    r"DescribeConfigsResponse\.results\.configs\.documentation(?: \(broker\))?": "Kafka's own words on a setting",
    r"(?:DescribeConfigs|CreateTopics)Response\.\w+\.configs\.(?:synonyms\.)?(?:name|value)":
        "a topic's or a group's own settings, for who may describe them; no topic has an address or a path",
    r"DescribeClientQuotasResponse\.entries\.(?:entity\.entity_type|entity\.entity_name|values\.key)":
        "users and client ids of the cluster, for who may describe its configs",
    r"ListConfigResourcesResponse\.config_resources\.resource_name":
        "version 0 lists subscriptions to clients' measurements and nothing else",
    r"(?:Share)?FetchResponse\.responses\.partitions\.records":
        "records of a topic that may be read, by the masks' leave",
}


def outcome(probe: Probe) -> bool:
    """Whether the client is told."""
    desk = trusting()
    assert ask(desk, probe) in ("forward", "replace"), f"{probe}: such a request does not come to a broker"
    return CANARY in repr(told(desk, probe))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = defaultdict(list)
    for probe in probes():
        found[probe.field].append(outcome(probe))
    return found


def unexplained(outcomes: dict[str, list[bool]], shown: set[str]) -> list[str]:
    return [field for field, found in sorted(outcomes.items())
            if any(found) and not any(re.fullmatch(pattern, field) for pattern in shown)]


def test_nothing_that_names_what_is_hidden_passes_without_a_reason(outcomes: dict[str, list[bool]]) -> None:
    assert unexplained(outcomes, set(SHOWN)) == [], \
        "filter or rewrite them in their API module, or say in SHOWN why they may pass"


@pytest.mark.parametrize("pattern", SHOWN)
def test_no_reason_is_given_for_what_does_not_pass(outcomes: dict[str, list[bool]], pattern: str) -> None:
    assert unexplained(outcomes, set(SHOWN) - {pattern}), "without it nothing would be missed"


@pytest.mark.parametrize("field", [
    "MetadataResponse.topics.name (all)", "OffsetFetchResponse.topics.name (all)", "ListGroupsResponse.groups.group_id",
    "OffsetFetchResponse.groups.topics.name (all)", "DescribeTopicPartitionsResponse.topics.name (all)",
    "DescribeTopicPartitionsResponse.next_cursor.topic_name", "DescribeQuorumResponse.nodes.listeners.host",
    "DescribeTransactionsResponse.transaction_states.topics.topic",
    "ListTransactionsResponse.transaction_states.transactional_id",
    "DescribeGroupsResponse.groups.members.member_metadata", "DescribeGroupsResponse.groups.members.member_assignment",
    "DescribeConfigsResponse.results.configs.value (broker)", "DescribeLogDirsResponse.results.topics.name (all)",
    "DescribeConfigsResponse.results.configs.synonyms.value (broker)", "DescribeLogDirsResponse.results.log_dir",
    "ElectLeadersResponse.replica_election_results.topic (all)", "ListPartitionReassignmentsResponse.topics.name (all)",
    "ConsumerGroupDescribeResponse.groups.members.subscribed_topic_regex", "MetadataResponse.brokers.host",
    "FindCoordinatorResponse.coordinators.host", "DescribeClusterResponse.brokers.host",
    "ShareGroupDescribeResponse.groups.members.subscribed_topic_names", "ShareFetchResponse.node_endpoints.host",
    "ShareGroupDescribeResponse.groups.members.assignment.topic_partitions.topic_name",
    "ShareAcknowledgeResponse.node_endpoints.host", "DescribeShareGroupOffsetsResponse.groups.topics.topic_name (all)"])
def test_what_an_answer_says_of_its_own_accord_is_never_shown(outcomes: dict[str, list[bool]], field: str) -> None:
    """Whatever the table above excuses."""
    assert outcomes[field] and not any(outcomes[field])


def operations_fields() -> list[tuple[int, int, str]]:
    return [(api, version, path) for api in sorted(set(SERVED) - set(LOCAL)) for version in spanning(api)
            for path, _ in leaves(schema.fields_of(api, True), version) if path.endswith("authorized_operations")]


@pytest.mark.parametrize(("api", "version", "path"), operations_fields())
def test_t45_operations_are_those_of_the_policy_wherever_they_stand(api: int, version: int, path: str) -> None:
    """What a broker says are those of kproxy's account, told here by bits that mean nothing."""
    probe = Probe(api, version, path, True)
    for lines in ([], [f"describe topic {OPEN}", f"describe group {OPEN}", "describe cluster kafka-cluster"]):
        desk = trusting()
        assert ask(desk, probe) in ("forward", "replace")
        if lines:
            desk.allow[:] = lines
            desk.opened.forget_decisions()
        answer: Any = desk.response(api, version, values_of(
            schema.fields_of(api, True), version, {path: 0x40000000 | 0x7FFF}))[1]
        for name in path.split("."):
            answer = answer[name] if isinstance(answer, dict) else answer[0][name]
        assert answer == (1 << 8 if lines else EVERYTHING[path.split(".")[-1] if "topic" in path or "cluster" in path
                                                          else "group"]), NAMES[api]


#: All that a principal can be allowed to do, as Kafka's bits.
EVERYTHING = {"topic_authorized_operations": 0b110111111000, "group": 0b110101001000,
              "cluster_authorized_operations": 0b1111110100000}
