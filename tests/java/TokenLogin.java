import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.auth.SaslExtensions;
import org.apache.kafka.common.security.auth.SaslExtensionsCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;

/**
 * Gives a client the token that the test put under a name, together with SASL extensions. The JAAS option `source` holds the
 * name; the test may put a fresh token under it while the client runs, as a real token agent would.
 */
public final class TokenLogin implements AuthenticateCallbackHandler {
    private static final Map<String, JsonNode> SOURCES = new ConcurrentHashMap<>();
    private JsonNode source;
    private String name;

    static void put(String name, JsonNode command) {
        SOURCES.put(name, command);
    }

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        name = String.valueOf(entries.get(0).getOptions().get("source"));
    }

    @Override
    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        source = SOURCES.get(name);
        for (Callback each : callbacks) {
            if (each instanceof OAuthBearerTokenCallback) {
                ((OAuthBearerTokenCallback) each).token(new Token(source.path("token").asText()));
            } else if (each instanceof SaslExtensionsCallback) {
                Map<String, String> extensions = new HashMap<>();
                source.path("extensions").fields().forEachRemaining(e -> extensions.put(e.getKey(), e.getValue().asText()));
                ((SaslExtensionsCallback) each).extensions(new SaslExtensions(extensions));
            } else {
                throw new UnsupportedCallbackException(each);
            }
        }
    }

    @Override
    public void close() {
    }

    /** The client wants to know when its token ends; a token that cannot be read ends in an hour, the proxy will refuse it anyway. */
    private static final class Token implements OAuthBearerToken {
        private final String value;
        private final long expires;

        Token(String value) {
            this.value = value;
            this.expires = expiry(value);
        }

        private static long expiry(String value) {
            try {
                byte[] claims = Base64.getUrlDecoder().decode(value.split("\\.")[1].getBytes(StandardCharsets.US_ASCII));
                long seconds = new ObjectMapper().readTree(claims).path("exp").asLong();
                return Math.max(seconds * 1000, System.currentTimeMillis() + 5000);
            } catch (Exception unreadable) {
                return System.currentTimeMillis() + 3600_000;
            }
        }

        @Override
        public String value() {
            return value;
        }

        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public long lifetimeMs() {
            return expires;
        }

        @Override
        public String principalName() {
            return "test";
        }

        @Override
        public Long startTimeMs() {
            return System.currentTimeMillis();
        }
    }
}
