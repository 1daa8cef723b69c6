import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeShareGroupsOptions;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ShareGroupDescription;
import org.apache.kafka.clients.admin.SharePartitionOffsetInfo;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The Driver's commands about share groups (KIP-932): consumers under a handle, and what an administrator does. */
final class ShareGroups {
    private final Map<String, KafkaShareConsumer<byte[], byte[]>> consumers = new HashMap<>();
    private final Map<String, List<ConsumerRecord<byte[], byte[]>>> delivered = new HashMap<>();

    Map<String, Object> run(String handle, JsonNode command, Admin admin) throws Exception {
        String group = command.path("group").asText();
        String topic = command.path("topic").asText();
        switch (command.path("do").asText()) {
            case "share_consumer":
                consumers.put(handle, new KafkaShareConsumer<>(
                    Driver.settings(command), new ByteArrayDeserializer(), new ByteArrayDeserializer()));
                return Map.of();
            case "share_subscribe":
                consumers.get(handle).subscribe(List.of(topic.split(",")));
                return Map.of();
            case "share_poll":
                return poll(handle, command);
            case "share_acknowledge":
                return acknowledge(handle, command);
            case "share_close":
                Optional.ofNullable(consumers.remove(handle)).ifPresent(each -> each.close(Duration.ofSeconds(5)));
                return Map.of();
            case "share_describe":
                return describe(admin, group);
            case "share_offsets":
                return offsets(admin, group);
            case "share_alter":
                admin.alterShareGroupOffsets(group, Map.of(new TopicPartition(topic, 0), command.path("offset").asLong())).all().get();
                return Map.of();
            case "share_delete_offsets":
                admin.deleteShareGroupOffsets(group, Set.of(topic)).all().get();
                return Map.of();
            case "share_delete":
                admin.deleteShareGroups(List.of(group)).all().get();
                return Map.of();
            default:
                throw new IllegalArgumentException("no such command: " + command.path("do").asText());
        }
    }

    /** Polls until records are here or `seconds` are over; what was delivered before counts as accepted where it was not acknowledged. */
    private Map<String, Object> poll(String handle, JsonNode command) {
        long deadline = System.nanoTime() + (long) (command.path("seconds").asDouble() * 1e9);
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        while (found.isEmpty() && System.nanoTime() < deadline) {
            consumers.get(handle).poll(Duration.ofMillis(100)).forEach(found::add);
        }
        delivered.put(handle, found);
        List<Map<String, Object>> views = new ArrayList<>();
        for (ConsumerRecord<byte[], byte[]> each : found) {
            Map<String, Object> view = Driver.view(each);
            view.put("deliveries", each.deliveryCount().map(Short::intValue).orElse(0));
            views.add(view);
        }
        return Map.of("records", views);
    }

    /** All that the last poll delivered, as `type`; the error code of each partition. */
    private Map<String, Object> acknowledge(String handle, JsonNode command) {
        KafkaShareConsumer<byte[], byte[]> consumer = consumers.get(handle);
        AcknowledgeType type = AcknowledgeType.valueOf(command.path("type").asText());
        for (ConsumerRecord<byte[], byte[]> each : delivered.get(handle)) {
            consumer.acknowledge(each, type);
        }
        Map<String, Object> codes = new HashMap<>();
        for (Map.Entry<TopicIdPartition, Optional<KafkaException>> each : consumer.commitSync(Duration.ofSeconds(10)).entrySet()) {
            codes.put(each.getKey().topicPartition().toString(), each.getValue().map(problem -> Driver.describe(problem).get("code")).orElse(0));
        }
        return Map.of("codes", codes);
    }

    private static Map<String, Object> describe(Admin admin, String group) throws Exception {
        ShareGroupDescription found = admin.describeShareGroups(List.of(group),
            new DescribeShareGroupsOptions().includeAuthorizedOperations(true)).all().get().get(group);
        List<String> operations = new ArrayList<>();
        found.authorizedOperations().forEach(one -> operations.add(one.name().toLowerCase()));
        return Map.of("state", found.groupState().toString(), "members", found.members().size(), "operations", operations);
    }

    private static Map<String, Object> offsets(Admin admin, String group) throws Exception {
        Map<String, Object> starts = new HashMap<>();
        for (Map.Entry<TopicPartition, SharePartitionOffsetInfo> each : admin.listShareGroupOffsets(
                Map.of(group, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(group).get().entrySet()) {
            if (each.getValue() != null) {
                starts.put(each.getKey().toString(), each.getValue().startOffset());
            }
        }
        return Map.of("starts", starts);
    }
}
