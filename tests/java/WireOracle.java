import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;

import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Reads a body with Kafka's own classes and writes it again.
 *
 * <p>In, per message: api key (i16), version (i16), is response (i8), size (i32), body. Out: size (i32) and the body as Kafka
 * writes it, or -1, the size of a text and the text: what Kafka's reader threw, or that it left bytes unread.
 */
public final class WireOracle {
    public static void main(String[] args) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
        while (true) {
            short key;
            try {
                key = in.readShort();
            } catch (EOFException end) {
                break;
            }
            short version = in.readShort();
            boolean response = in.readByte() != 0;
            byte[] body = new byte[in.readInt()];
            in.readFully(body);
            answer(key, version, response, body, out);
        }
        out.flush();
    }

    private static void answer(short key, short version, boolean response, byte[] body, DataOutputStream out)
            throws IOException {
        byte[] written;
        try {
            written = readAndWrite(key, version, response, body);
        } catch (RuntimeException refused) {
            byte[] text = String.valueOf(refused).getBytes("UTF-8");
            out.writeInt(-1);
            out.writeInt(text.length);
            out.write(text);
            return;
        }
        out.writeInt(written.length);
        out.write(written);
    }

    private static byte[] readAndWrite(short key, short version, boolean response, byte[] body) {
        ApiMessageType type = ApiMessageType.fromApiKey(key);
        ApiMessage message = response ? type.newResponse() : type.newRequest();
        ByteBuffer buffer = ByteBuffer.wrap(body);
        message.read(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes left");
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer written = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(written), cache, version);
        return written.array();
    }
}
