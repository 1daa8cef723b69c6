import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;

/**
 * Writes record batches with Kafka's own classes, and reads them: one command per line of JSON on stdin, one answer per line on
 * stdout. Bytes travel as base64. What Java threw is the answer's "error".
 */
public final class RecordOracle {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] arguments) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> answer;
            try {
                answer = run(JSON.readTree(line));
            } catch (RuntimeException | Error refused) {
                // Errors too: Snappy throws its own, and Kafka's readers make room for the gigabytes that a block declares.
                answer = Map.of("error", String.valueOf(refused));
            }
            System.out.println(JSON.writeValueAsString(answer));
            System.out.flush();
        }
    }

    private static Map<String, Object> run(JsonNode command) {
        switch (command.path("do").asText()) {
            case "write":
                return Map.of("data", text(write(command)));
            case "mark":
                return Map.of("data", text(mark(command)));
            case "read":
                return Map.of("batches", read(bytes(command.path("data"))));
            default:
                throw new IllegalArgumentException("no such command");
        }
    }

    private static Compression compression(JsonNode command) {
        int level = command.path("level").asInt(0);
        switch (command.path("codec").asText()) {
            case "gzip":
                return level == 0 ? Compression.gzip().build() : Compression.gzip().level(level).build();
            case "snappy":
                return Compression.snappy().build();
            case "lz4":
                return level == 0 ? Compression.lz4().build() : Compression.lz4().level(level).build();
            case "zstd":
                return level == 0 ? Compression.zstd().build() : Compression.zstd().level(level).build();
            default:
                return Compression.NONE;
        }
    }

    private static ByteBuffer write(JsonNode command) {
        boolean stamped = command.hasNonNull("append_time");
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), (byte) command.path("magic").asInt(2),
            compression(command), stamped ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME,
            command.path("base").asLong(), command.path("append_time").asLong(-1), command.path("producer_id").asLong(-1),
            (short) command.path("producer_epoch").asInt(-1), command.path("sequence").asInt(-1),
            command.path("transactional").asBoolean(), false, command.path("leader_epoch").asInt(-1));
        boolean old = command.path("magic").asInt(2) < 2;
        for (JsonNode each : command.path("records")) {
            List<Header> headers = new ArrayList<>();
            each.path("headers").forEach(pair -> headers.add(new RecordHeader(pair.get(0).asText(), bytes(pair.get(1)))));
            builder.appendWithOffset(each.path("offset").asLong(), old && command.path("magic").asInt() == 0 ? -1 : each.path("timestamp").asLong(),
                bytes(each.path("key")), bytes(each.path("value")), old ? new Header[0] : headers.toArray(new Header[0]));
        }
        return builder.build().buffer();
    }

    private static ByteBuffer mark(JsonNode command) {
        ControlRecordType kind = command.path("commit").asBoolean() ? ControlRecordType.COMMIT : ControlRecordType.ABORT;
        return MemoryRecords.withEndTransactionMarker(command.path("base").asLong(), 1000L, command.path("leader_epoch").asInt(-1),
            command.path("producer_id").asLong(), (short) command.path("producer_epoch").asInt(), new EndTransactionMarker(kind, 3)).buffer();
    }

    private static List<Map<String, Object>> read(byte[] data) {
        List<Map<String, Object>> found = new ArrayList<>();
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(data)).batches()) {
            batch.ensureValid();
            List<Map<String, Object>> records = new ArrayList<>();
            for (Record record : batch) {
                record.ensureValid();
                records.add(view(record));
            }
            Map<String, Object> view = new HashMap<>();
            view.put("base", batch.baseOffset());
            view.put("last", batch.lastOffset());
            view.put("next", batch.nextOffset());
            view.put("codec", batch.compressionType().name);
            view.put("timestamps", batch.timestampType().name);
            view.put("largest_timestamp", batch.maxTimestamp());
            view.put("producer", List.of(batch.producerId(), (long) batch.producerEpoch(), (long) batch.baseSequence()));
            view.put("transactional", batch.isTransactional());
            view.put("control", batch.isControlBatch());
            view.put("leader_epoch", batch.partitionLeaderEpoch());
            view.put("records", records);
            found.add(view);
        }
        return found;
    }

    private static Map<String, Object> view(Record record) {
        List<List<String>> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            List<String> pair = new ArrayList<>();
            pair.add(header.key());
            pair.add(header.value() == null ? null : Base64.getEncoder().encodeToString(header.value()));
            headers.add(pair);
        }
        Map<String, Object> view = new HashMap<>();
        view.put("offset", record.offset());
        view.put("sequence", record.sequence());
        view.put("timestamp", record.timestamp());
        view.put("key", record.hasKey() ? text(record.key()) : null);
        view.put("value", record.hasValue() ? text(record.value()) : null);
        view.put("headers", headers);
        return view;
    }

    private static byte[] bytes(JsonNode node) {
        return node.isNull() || node.isMissingNode() ? null : Base64.getDecoder().decode(node.asText());
    }

    private static String text(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return Base64.getEncoder().encodeToString(bytes);
    }
}
