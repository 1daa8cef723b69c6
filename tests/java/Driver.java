import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client as a child process: one command per line of JSON on stdin, one answer per line on stdout, so that many
 * tests share one virtual machine. Clients stay open under a handle, because some tests are about one open connection.
 * An answer is {"ok": true, …} or {"ok": false, "error": {"class", "code", "message"}}; bytes travel as base64.
 */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private final Map<String, KafkaConsumer<byte[], byte[]>> consumers = new HashMap<>();
    private final Map<String, Admin> admins = new HashMap<>();
    private final ShareGroups shareGroups = new ShareGroups();

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        Driver driver = new Driver();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> answer = new HashMap<>();
            try {
                answer.putAll(driver.run(JSON.readTree(line)));
                answer.put("ok", true);
            } catch (Throwable problem) {
                answer.put("ok", false);
                answer.put("error", describe(problem));
            }
            answers.println(JSON.writeValueAsString(answer));
            answers.flush();
        }
        System.exit(0);
    }

    private Map<String, Object> run(JsonNode command) throws Exception {
        String handle = command.path("handle").asText();
        switch (command.path("do").asText()) {
            case "token":
                TokenLogin.put(handle, command);
                return Map.of();
            case "producer":
                producers.put(handle, new KafkaProducer<>(settings(command), new ByteArraySerializer(), new ByteArraySerializer()));
                return Map.of();
            case "consumer":
                consumers.put(handle, new KafkaConsumer<>(settings(command), new ByteArrayDeserializer(), new ByteArrayDeserializer()));
                return Map.of();
            case "admin":
                admins.put(handle, Admin.create(settings(command)));
                return Map.of();
            case "send":
                return send(producers.get(handle), command);
            case "subscribe":
                consumers.get(handle).subscribe(List.of(command.path("topic").asText()));
                return Map.of();
            case "assign":
                return assign(consumers.get(handle), command);
            case "poll":
                return poll(consumers.get(handle), command);
            case "commit":
                consumers.get(handle).commitSync(Duration.ofSeconds(10));
                return Map.of();
            case "create_topic":
                return createTopic(admins.get(handle), command);
            case "list_topics":
                return Map.of("topics", admins.get(handle).listTopics(new ListTopicsOptions().listInternal(true)).names().get());
            case "delete_topic":
                admins.get(handle).deleteTopics(List.of(command.path("topic").asText())).all().get();
                return Map.of();
            case "create_partitions":
                admins.get(handle).createPartitions(Map.of(command.path("topic").asText(),
                    NewPartitions.increaseTo(command.path("total").asInt()))).all().get();
                return Map.of();
            case "delete_records":
                return deleteRecords(admins.get(handle), command);
            case "configs":
                return configs(admins.get(handle), command);
            case "alter_config":
                return alterConfig(admins.get(handle), command);
            case "describe_topic":
                return describeTopic(admins.get(handle), command);
            case "describe_cluster":
                return describeCluster(admins.get(handle));
            case "transaction":
                return transaction(producers.get(handle), command);
            case "list_groups":
                return listGroups(admins.get(handle));
            case "describe_group":
                return describeGroup(admins.get(handle), command.path("group").asText());
            case "delete_group":
                admins.get(handle).deleteConsumerGroups(List.of(command.path("group").asText())).all().get();
                return Map.of();
            case "delete_offset":
                return deleteOffset(admins.get(handle), command);
            case "metrics":
                return metrics(producers.get(handle));
            case "close":
                return close(handle);
            default:
                return shareGroups.run(handle, command, admins.get(handle));
        }
    }

    static Properties settings(JsonNode command) {
        Properties settings = new Properties();
        command.path("settings").fields().forEachRemaining(entry -> settings.put(entry.getKey(), entry.getValue().asText()));
        return settings;
    }

    private static byte[] bytes(JsonNode node) {
        return node.isNull() || node.isMissingNode() ? null : Base64.getDecoder().decode(node.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    /** All records are handed over before the first answer is awaited, so that they share batches where linger allows. */
    private static Map<String, Object> send(KafkaProducer<byte[], byte[]> producer, JsonNode command) throws Exception {
        List<Future<RecordMetadata>> pending = new ArrayList<>();
        List<Map<String, Object>> results = new ArrayList<>();
        for (JsonNode each : command.path("records")) {
            List<Header> headers = new ArrayList<>();
            each.path("headers").forEach(pair -> headers.add(new RecordHeader(pair.get(0).asText(), bytes(pair.get(1)))));
            Integer partition = each.hasNonNull("partition") ? each.get("partition").asInt() : null;
            Long timestamp = each.hasNonNull("timestamp") ? each.get("timestamp").asLong() : null;
            pending.add(producer.send(new ProducerRecord<>(command.path("topic").asText(), partition, timestamp,
                bytes(each.path("key")), bytes(each.path("value")), headers)));
        }
        producer.flush();
        for (Future<RecordMetadata> each : pending) {
            try {
                RecordMetadata sent = each.get();
                results.add(Map.of("partition", sent.partition(), "offset", sent.offset()));
            } catch (ExecutionException problem) {
                results.add(Map.of("error", describe(problem.getCause())));
            }
        }
        return Map.of("results", results);
    }

    /** One step of a transaction. "offsets" commits a position of partition 0 for the group of another handle's consumer. */
    private Map<String, Object> transaction(KafkaProducer<byte[], byte[]> producer, JsonNode command) {
        switch (command.path("step").asText()) {
            case "init":
                producer.initTransactions();
                break;
            case "begin":
                producer.beginTransaction();
                break;
            case "offsets":
                producer.sendOffsetsToTransaction(
                    Map.of(new TopicPartition(command.path("topic").asText(), 0), new OffsetAndMetadata(command.path("offset").asLong())),
                    consumers.get(command.path("consumer").asText()).groupMetadata());
                break;
            case "commit":
                producer.commitTransaction();
                break;
            default:
                producer.abortTransaction();
        }
        return Map.of();
    }

    private static Map<String, Object> listGroups(Admin admin) throws Exception {
        List<String> names = new ArrayList<>();
        admin.listGroups().all().get().forEach(group -> names.add(group.groupId()));
        return Map.of("groups", names);
    }

    private static Map<String, Object> describeGroup(Admin admin, String name) throws Exception {
        ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(name),
            new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all().get().get(name);
        List<String> operations = new ArrayList<>();
        found.authorizedOperations().forEach(one -> operations.add(one.name().toLowerCase()));
        return Map.of("state", found.groupState().toString(), "members", found.members().size(), "operations", operations);
    }

    private static Map<String, Object> deleteOffset(Admin admin, JsonNode command) throws Exception {
        admin.deleteConsumerGroupOffsets(command.path("group").asText(),
            Set.of(new TopicPartition(command.path("topic").asText(), 0))).all().get();
        return Map.of();
    }

    private static Map<String, Object> assign(KafkaConsumer<byte[], byte[]> consumer, JsonNode command) {
        TopicPartition place = new TopicPartition(command.path("topic").asText(), command.path("partition").asInt());
        consumer.assign(List.of(place));
        consumer.seek(place, command.path("offset").asLong());
        return Map.of();
    }

    /** Polls until `count` records are here or `seconds` are over. */
    private static Map<String, Object> poll(KafkaConsumer<byte[], byte[]> consumer, JsonNode command) {
        long deadline = System.nanoTime() + (long) (command.path("seconds").asDouble() * 1e9);
        int count = command.path("count").asInt();
        List<Map<String, Object>> found = new ArrayList<>();
        while (found.size() < count && System.nanoTime() < deadline) {
            ConsumerRecords<byte[], byte[]> batch = consumer.poll(Duration.ofMillis(100));
            for (ConsumerRecord<byte[], byte[]> each : batch) {
                found.add(view(each));
            }
        }
        return Map.of("records", found);
    }

    static Map<String, Object> view(ConsumerRecord<byte[], byte[]> record) {
        List<List<String>> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            List<String> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(text(header.value()));
            headers.add(pair);
        }
        Map<String, Object> view = new HashMap<>();
        view.put("topic", record.topic());
        view.put("partition", record.partition());
        view.put("offset", record.offset());
        view.put("timestamp", record.timestamp());
        view.put("key", text(record.key()));
        view.put("value", text(record.value()));
        view.put("headers", headers);
        return view;
    }

    private static Map<String, Object> createTopic(Admin admin, JsonNode command) throws Exception {
        NewTopic topic = new NewTopic(command.path("topic").asText(), Optional.of(command.path("partitions").asInt(1)), Optional.empty());
        Map<String, String> configs = new HashMap<>();
        command.path("configs").fields().forEachRemaining(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        admin.createTopics(List.of(topic.configs(configs))).all().get();
        return Map.of();
    }

    private static Map<String, Object> describeTopic(Admin admin, JsonNode command) throws Exception {
        String name = command.path("topic").asText();
        TopicDescription found = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        return Map.of("partitions", found.partitions().size(), "internal", found.isInternal());
    }

    private static Map<String, Object> deleteRecords(Admin admin, JsonNode command) throws Exception {
        TopicPartition place = new TopicPartition(command.path("topic").asText(), 0);
        RecordsToDelete records = RecordsToDelete.beforeOffset(command.path("before").asLong());
        return Map.of("low", admin.deleteRecords(Map.of(place, records)).lowWatermarks().get(place).get().lowWatermark());
    }

    private static Map<String, Object> configs(Admin admin, JsonNode command) throws Exception {
        ConfigResource.Type type = ConfigResource.Type.valueOf(command.path("type").asText());
        ConfigResource resource = new ConfigResource(type, command.path("name").asText());
        Map<String, Object> found = new HashMap<>();
        admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()
            .forEach(entry -> found.put(entry.name(), entry.value()));
        return Map.of("configs", found);
    }

    private static Map<String, Object> alterConfig(Admin admin, JsonNode command) throws Exception {
        ConfigEntry entry = new ConfigEntry(command.path("key").asText(), command.path("value").asText());
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, command.path("topic").asText());
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(entry, AlterConfigOp.OpType.SET)))).all().get();
        return Map.of();
    }

    private static Map<String, Object> describeCluster(Admin admin) throws Exception {
        List<String> nodes = new ArrayList<>();
        admin.describeCluster().nodes().get().forEach(node -> nodes.add(node.host() + ":" + node.port()));
        return Map.of("nodes", nodes);
    }

    private static final Set<String> TOLD = Set.of(
        "connection-creation-total", "successful-reauthentication-total", "produce-throttle-time-max");

    /** How many connections this producer has opened in its life, its re-authentications, and how long it was throttled. */
    private static Map<String, Object> metrics(KafkaProducer<byte[], byte[]> producer) {
        Map<String, Object> found = new HashMap<>();
        producer.metrics().forEach((name, metric) -> {
            if (name.group().equals("producer-metrics") && TOLD.contains(name.name())) {
                found.put(name.name(), metric.metricValue());
            }
        });
        return Map.of("metrics", found);
    }

    private Map<String, Object> close(String handle) {
        Duration soon = Duration.ofSeconds(2);
        Optional.ofNullable(producers.remove(handle)).ifPresent(each -> each.close(soon));
        Optional.ofNullable(consumers.remove(handle)).ifPresent(each -> each.close(
            org.apache.kafka.clients.consumer.CloseOptions.timeout(soon)));
        Optional.ofNullable(admins.remove(handle)).ifPresent(each -> each.close(soon));
        return Map.of();
    }

    /** Futures wrap what went wrong; the innermost of Kafka's own exceptions is the one with a code. */
    static Map<String, Object> describe(Throwable problem) {
        Throwable found = problem;
        while (found instanceof ExecutionException && found.getCause() != null) {
            found = found.getCause();
        }
        Map<String, Object> view = new HashMap<>();
        view.put("class", found.getClass().getSimpleName());
        view.put("code", (int) Errors.forException(found).code());
        view.put("message", String.valueOf(found.getMessage()));
        return view;
    }
}
