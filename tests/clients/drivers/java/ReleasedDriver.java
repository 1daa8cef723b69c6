import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A released Java client, any from 2.8 on, behind the commands that all drivers share: it uses only what each of these
 * releases has. Lines of JSON and bytes as in tests/java/Driver.java, whose TokenLogin it uses.
 */
public final class ReleasedDriver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String MODULES = "org.apache.kafka.common.security.";
    private final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    private final Map<String, KafkaConsumer<byte[], byte[]>> consumers = new HashMap<>();
    private final Map<String, Admin> admins = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        ReleasedDriver driver = new ReleasedDriver();
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
        String topic = command.path("topic").asText();
        switch (command.path("do").asText()) {
            case "version":
                return Map.of("version", version());
            case "producer":
                return openProducer(handle, command);
            case "consumer":
                return openConsumer(handle, command);
            case "admin":
                admins.put(handle, Admin.create(common(handle, command.path("login"))));
                return Map.of();
            case "send":
                return send(producers.get(handle), command);
            case "transaction":
                return transaction(producers.get(handle), command.path("step").asText());
            case "subscribe":
                consumers.get(handle).subscribe(List.of(topic));
                return Map.of();
            case "assign":
                TopicPartition place = new TopicPartition(topic, command.path("partition").asInt());
                consumers.get(handle).assign(List.of(place));
                consumers.get(handle).seek(place, command.path("offset").asLong());
                return Map.of();
            case "poll":
                return poll(consumers.get(handle), command);
            case "commit":
                consumers.get(handle).commitSync(Duration.ofSeconds(10));
                return Map.of();
            case "create_topic":
                admins.get(handle).createTopics(List.of(new NewTopic(topic, Optional.of(command.path("partitions").asInt()),
                    Optional.empty()))).all().get();
                return Map.of();
            case "delete_topic":
                admins.get(handle).deleteTopics(List.of(topic)).all().get();
                return Map.of();
            case "list_topics":
                return Map.of("topics", admins.get(handle).listTopics().names().get());
            case "close":
                return close(handle);
            default:
                throw new IllegalArgumentException("no such command: " + command.path("do").asText());
        }
    }

    /** As the jar itself says; the class that would tell is not at the same place in all of them. */
    private static String version() throws IOException {
        Properties told = new Properties();
        try (InputStream file = KafkaProducer.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            told.load(file);
        }
        return told.getProperty("version");
    }

    private static Properties common(String handle, JsonNode login) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", login.path("bootstrap").asText());
        settings.put("request.timeout.ms", "8000");
        settings.put("default.api.timeout.ms", "12000");
        settings.put("reconnect.backoff.ms", "20");
        settings.put("retry.backoff.ms", "50");
        String mechanism = login.path("mechanism").asText();
        if (mechanism.equals("NONE")) {
            return settings;
        }
        settings.put("security.protocol", "SASL_PLAINTEXT");
        settings.put("sasl.mechanism", mechanism);
        if (mechanism.equals("PLAIN")) {
            settings.put("sasl.jaas.config", String.format("%splain.PlainLoginModule required username=\"%s\" password=\"%s\";",
                MODULES, login.path("username").asText(), login.path("token").asText()));
        } else {
            TokenLogin.put(handle, login);
            settings.put("sasl.login.callback.handler.class", "TokenLogin");
            settings.put("sasl.login.refresh.min.period.seconds", "0");
            settings.put("sasl.login.refresh.buffer.seconds", "0");
            settings.put("sasl.jaas.config",
                String.format("%soauthbearer.OAuthBearerLoginModule required source=\"%s\";", MODULES, handle));
        }
        return settings;
    }

    private Map<String, Object> openProducer(String handle, JsonNode command) {
        Properties settings = common(handle, command.path("login"));
        settings.put("compression.type", command.path("codec").asText());
        settings.put("acks", command.path("acks").asText());
        settings.put("enable.idempotence", command.path("idempotent").asText());
        settings.put("linger.ms", "20");
        settings.put("delivery.timeout.ms", "12000");
        settings.put("max.block.ms", "12000");
        boolean transactional = !command.path("transactional").asText().isEmpty();
        if (transactional) {
            settings.put("enable.idempotence", "true");
            settings.put("transactional.id", command.path("transactional").asText());
        }
        producers.put(handle, new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer()));
        if (transactional) {
            producers.get(handle).initTransactions();
        }
        return Map.of();
    }

    private Map<String, Object> openConsumer(String handle, JsonNode command) {
        Properties settings = common(handle, command.path("login"));
        if (command.hasNonNull("group")) {
            settings.put("group.id", command.path("group").asText());
        }
        settings.put("check.crcs", "true");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("fetch.max.wait.ms", "100");
        if (command.path("protocol").asText().equals("consumer")) {
            settings.put("group.protocol", "consumer");
        } else {
            settings.put("heartbeat.interval.ms", "500");
        }
        settings.put("allow.auto.create.topics", "false");
        settings.put("isolation.level", command.path("isolation").asText());
        consumers.put(handle, new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer()));
        return Map.of();
    }

    private static byte[] bytes(JsonNode node) {
        return node.isNull() || node.isMissingNode() ? null : Base64.getDecoder().decode(node.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    /** All records are handed over before the first answer is awaited, so that they share batches. */
    private static Map<String, Object> send(KafkaProducer<byte[], byte[]> producer, JsonNode command) throws Exception {
        List<Future<RecordMetadata>> pending = new ArrayList<>();
        List<Map<String, Object>> results = new ArrayList<>();
        for (JsonNode each : command.path("records")) {
            List<Header> headers = new ArrayList<>();
            each.path("headers").forEach(pair -> headers.add(new RecordHeader(pair.get(0).asText(), bytes(pair.get(1)))));
            pending.add(producer.send(new ProducerRecord<>(command.path("topic").asText(), command.path("partition").asInt(),
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

    private static Map<String, Object> transaction(KafkaProducer<byte[], byte[]> producer, String step) {
        switch (step) {
            case "begin":
                producer.beginTransaction();
                break;
            case "commit":
                producer.commitTransaction();
                break;
            default:
                producer.abortTransaction();
        }
        return Map.of();
    }

    /** Polls until `count` records are here or `seconds` are over. */
    private static Map<String, Object> poll(KafkaConsumer<byte[], byte[]> consumer, JsonNode command) {
        long deadline = System.nanoTime() + (long) (command.path("seconds").asDouble() * 1e9);
        int count = command.path("count").asInt();
        List<Map<String, Object>> found = new ArrayList<>();
        while (found.size() < count && System.nanoTime() < deadline) {
            for (ConsumerRecord<byte[], byte[]> each : consumer.poll(Duration.ofMillis(100))) {
                found.add(view(each));
            }
        }
        return Map.of("records", found);
    }

    private static Map<String, Object> view(ConsumerRecord<byte[], byte[]> record) {
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
        view.put("key", text(record.key()));
        view.put("value", text(record.value()));
        view.put("headers", headers);
        return view;
    }

    private Map<String, Object> close(String handle) {
        Duration soon = Duration.ofSeconds(2);
        Optional.ofNullable(producers.remove(handle)).ifPresent(each -> each.close(soon));
        Optional.ofNullable(consumers.remove(handle)).ifPresent(each -> each.close(soon));
        Optional.ofNullable(admins.remove(handle)).ifPresent(each -> each.close(soon));
        return Map.of();
    }

    /** Exceptions wrap what went wrong; the innermost of Kafka's own is the one with a code. */
    private static Map<String, Object> describe(Throwable problem) {
        Throwable found = problem;
        while (Errors.forException(found) == Errors.UNKNOWN_SERVER_ERROR && found.getCause() != null) {
            found = found.getCause();
        }
        Map<String, Object> view = new HashMap<>();
        view.put("class", found.getClass().getSimpleName());
        view.put("code", (int) Errors.forException(found).code());
        view.put("message", String.valueOf(found.getMessage()));
        return view;
    }
}
