// A load generator that speaks Kafka: logs in, learns the leaders, then produces or fetches on C connections.
//
//   load --target HOST:PORT [--tls CA_FILE] [--sasl PLAIN|OAUTHBEARER --user NAME --token-file FILE]
//        --api produce|fetch|idle|connect [--size BYTES] [--value-bytes BYTES] [--secrets] [--codec none|lz4|zstd] [--acks -1|0|1]
//        --connections C --in-flight K --seconds S --warmup S [--rate PER_SECOND] [--topics N] [--partitions N]
//        [--cpu-of PID]…
//
// Closed loop by default: K requests in flight on each connection. With --rate an open loop: requests leave at their
// intended times whatever comes back, and latency counts from the intended time (no coordinated omission).
// Every answer is checked: its place in the order (correlation id), topic, partition, error code, and on fetch its size.
// --cpu-of takes the CPU seconds of those processes over just the measured window, its own are always given.
// One line of JSON on stdout; exit code 1 if any answer was wrong or a connection was lost.
#include <signal.h>
#include <sys/prctl.h>

#include <lz4frame.h>
#include <zstd.h>

#include "tls.hpp"

struct Options {
    std::string host, sasl, user = "bench", token, api = "produce", client_id = "bench-load";
    int port = 0, connections = 8, in_flight = 8, topics = 10, partitions = 4, acks = 1, version = 0;
    size_t size = 200, value_bytes = 1024;
    double seconds = 4, warmup = 1, rate = 0;
    bool secrets = false;
    Codec codec;
    std::vector<int> cpu_of;
} options;

// Answers longer than this are judged by their head; their records are thrown away unread.
const size_t LONG = 16384;
const int PRODUCE_VERSION = 9, FETCH_VERSION = 12, METADATA_VERSION = 9;

// One prepared request; only the correlation id differs between two sendings.
struct Template { std::string topic; int32_t partition; std::string bytes; };

struct Waiting { uint64_t since; int32_t correlation; int32_t which; };

struct Connection {
    int fd = -1;
    Input input;
    Output output;
    std::string small;              // short requests gathered into one write
    size_t small_at = 0;
    std::deque<Waiting> waiting;
    int32_t next_correlation = 0;
    size_t next_template = 0;
    bool wants_write = false, lost = false;
};

std::vector<Template> templates;
Histogram latency;
uint64_t completed = 0, failed = 0, misordered = 0, lost = 0, response_bytes = 0, measured_from = 0;
std::map<int, uint64_t> errors;
std::map<int, double> cpu_before;
bool measuring = false;

// utime + stime of a process with all its threads, in seconds; 0 once it is gone.
double cpu_seconds(int pid) {
    char text[1024] = {0};
    FILE* file = fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "r");
    if (!file) return 0;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char* after_name = n ? strrchr(text, ')') : nullptr;
    unsigned long user = 0, system = 0;
    if (!after_name || sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

void begin_measuring(uint64_t now) {
    for (int pid : options.cpu_of) cpu_before[pid] = cpu_seconds(pid);
    measuring = true;
    measured_from = now;
}

Writer begin_request(int api, int version, int32_t correlation) {
    Writer w;
    w.i32(0);
    w.i16(api); w.i16(version); w.i32(correlation);
    w.string(options.client_id, false);
    w.tags(is_flexible(api, version));
    return w;
}

void send_all(int fd, const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
        iovec part{(void*)(bytes.data() + at), bytes.size() - at};
        ssize_t n = send_parts(fd, &part, 1);
        if (n <= 0) die("the connection was lost while sending: " + std::string(strerror(errno)));
        at += n;
    }
}

void receive_all(int fd, void* data, size_t length) {
    for (size_t at = 0; at < length;) {
        ssize_t n = receive_bytes(fd, (char*)data + at, length - at, 0);
        if (n <= 0) die("the connection was closed during set-up");
        at += n;
    }
}

// One request and its answer on a blocking socket; the answer's body.
std::string ask(int fd, Writer& w, int api, int version, int32_t correlation) {
    store_be32(&w.out[0], (uint32_t)(w.out.size() - 4));
    send_all(fd, w.out);
    char size[4];
    receive_all(fd, size, 4);
    std::string answer(load_be32(size), 0);
    receive_all(fd, &answer[0], answer.size());
    Reader r(answer.data(), answer.size());
    if (r.i32() != correlation) die("an answer during set-up has the wrong correlation id");
    r.tags(is_flexible(api, version) && api != API_VERSIONS);
    if (r.bad) die("a malformed answer during set-up");
    return std::string((const char*)r.at, r.left());
}

void log_in(int fd) {
    Writer handshake = begin_request(SASL_HANDSHAKE, 1, 1);
    handshake.string(options.sasl, false);
    std::string answer = ask(fd, handshake, SASL_HANDSHAKE, 1, 1);
    Reader r(answer.data(), answer.size());
    if (int error = r.i16()) die("SaslHandshake was refused with " + std::to_string(error));
    std::string first = options.sasl == "PLAIN" ? std::string("\0", 1) + options.user + std::string("\0", 1) + options.token
                                                : "n,,\x01" "auth=Bearer " + options.token + "\x01\x01";
    Writer authenticate = begin_request(SASL_AUTHENTICATE, 2, 2);
    authenticate.bytes(first, true);
    authenticate.tags(true);
    answer = ask(fd, authenticate, SASL_AUTHENTICATE, 2, 2);
    Reader a(answer.data(), answer.size());
    int error = a.i16();
    std::string text(a.string(true));
    if (error) die("SaslAuthenticate was refused with " + std::to_string(error) + ": " + text);
}

// The ApiVersions answer is looked at, so that a proxy which cannot serve this load says so here and not in the figures.
void negotiate(int fd) {
    Writer w = begin_request(API_VERSIONS, 3, 0);
    w.string("bench-load", true); w.string("1.0", true); w.tags(true);
    std::string answer = ask(fd, w, API_VERSIONS, 3, 0);
    Reader r(answer.data(), answer.size());
    if (int error = r.i16()) die("ApiVersions was refused with " + std::to_string(error));
    std::map<int, std::pair<int, int>> ranges;
    for (int32_t n = r.count(true); n-- > 0 && !r.bad;) {
        int key = r.i16();
        int low = r.i16();
        ranges[key] = {low, r.i16()};
        r.tags(true);
    }
    for (auto [key, version] : {std::pair<int, int>{PRODUCE, PRODUCE_VERSION}, {FETCH, FETCH_VERSION}, {METADATA, METADATA_VERSION}})
        if (!ranges.count(key) || version < ranges[key].first || version > ranges[key].second)
            die("the target does not serve API " + std::to_string(key) + " version " + std::to_string(version));
}

int open_connection() {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(options.host, options.port);
    if (connect(fd, (sockaddr*)&address, sizeof address)) die("cannot connect to " + options.host + ":" + std::to_string(options.port));
    set_no_delay(fd);
    tls::connect(fd);
    negotiate(fd);
    if (!options.sasl.empty()) log_in(fd);
    return fd;
}

// Asks for the topics' leaders; the load goes to the leader's advertised address, as a real client's would.
void find_leader() {
    int fd = open_connection();
    Writer w = begin_request(METADATA, METADATA_VERSION, 3);
    w.count(options.topics, true);
    for (int t = 0; t < options.topics; t++) { w.string("bench-" + std::to_string(t), true); w.tags(true); }
    w.i8(0); w.i8(0); w.i8(0);
    w.tags(true);
    std::string answer = ask(fd, w, METADATA, METADATA_VERSION, 3);
    Reader r(answer.data(), answer.size());
    r.i32();
    std::map<int32_t, std::pair<std::string, int>> nodes;
    for (int32_t n = r.count(true); n-- > 0 && !r.bad;) {
        int32_t id = r.i32();
        std::string host(r.string(true));
        nodes[id] = {host, r.i32()};
        r.string(true);
        r.tags(true);
    }
    r.string(true);
    r.i32();
    int32_t leader = -1;
    for (int32_t n = r.count(true); n-- > 0 && !r.bad;) {
        int error = r.i16();
        std::string name(r.string(true));
        if (error) die("topic " + name + " has error " + std::to_string(error));
        r.i8();
        for (int32_t p = r.count(true); p-- > 0 && !r.bad;) {
            r.i16(); r.i32();
            leader = r.i32();
            r.i32();
            for (int list = 0; list < 3; list++) { int32_t k = r.count(true); r.skip(4 * (size_t)std::max(k, 0)); }
            r.tags(true);
        }
        r.i32();
        r.tags(true);
    }
    if (r.bad || !nodes.count(leader)) die("the metadata answer names no leader");
    std::tie(options.host, options.port) = nodes[leader];
    tls::close(fd);
}

std::string compress_lz4(const std::string& records) {
    LZ4F_preferences_t how{};           // independent blocks, which Kafka's reader asks for
    how.frameInfo.blockMode = LZ4F_blockIndependent;
    std::string out(LZ4F_compressFrameBound(records.size(), &how), 0);
    out.resize(LZ4F_compressFrame(&out[0], out.size(), records.data(), records.size(), &how));
    return out;
}

std::string compress_zstd(const std::string& records) {
    std::string out(ZSTD_compressBound(records.size()), 0);
    out.resize(ZSTD_compress(&out[0], out.size(), records.data(), records.size(), 3));
    return out;
}

Codec find_codec(const std::string& name) {
    if (name == "lz4") return {3, compress_lz4};
    if (name == "zstd") return {4, compress_zstd};
    if (name != "none") die("no codec called " + name);
    return {};
}

void build_templates() {
    std::string batch = options.api == "produce"
        ? record_batch(options.size, options.value_bytes, options.secrets, options.codec) : "";
    options.size = options.api == "produce" ? batch.size() : options.size;
    for (int i = 0; i < options.topics * options.partitions; i++) {
        Template t{"bench-" + std::to_string(i % options.topics), i / options.topics, ""};
        Writer w = options.api == "produce" ? begin_request(PRODUCE, PRODUCE_VERSION, 0) : begin_request(FETCH, FETCH_VERSION, 0);
        if (options.api == "produce") {
            w.null_string(true); w.i16(options.acks); w.i32(30000);
            w.count(1, true); w.string(t.topic, true);
            w.count(1, true); w.i32(t.partition); w.bytes(batch, true); w.tags(true);
            w.tags(true);
        } else {
            w.i32(-1); w.i32(500); w.i32(1); w.i32(64 << 20); w.i8(0); w.i32(0); w.i32(-1);
            w.count(1, true); w.string(t.topic, true);
            w.count(1, true); w.i32(t.partition); w.i32(-1); w.i64(0); w.i32(-1); w.i64(-1); w.i32((int32_t)options.size); w.tags(true);
            w.tags(true);
            w.count(0, true);
            w.string("", true);
        }
        w.tags(true);
        store_be32(&w.out[0], (uint32_t)(w.out.size() - 4));
        t.bytes = std::move(w.out);
        templates.push_back(std::move(t));
    }
}

void send_next(Connection& c, uint64_t since) {
    int32_t which = (int32_t)c.next_template;
    c.next_template = (c.next_template + 1) % templates.size();
    const std::string& bytes = templates[which].bytes;
    char head[12];
    memcpy(head, bytes.data(), 12);
    store_be32(head + 8, (uint32_t)c.next_correlation);
    if (bytes.size() <= 8192) {
        c.small.append(head, 12);
        c.small.append(bytes, 12, std::string::npos);
    } else {
        c.output.add(std::string(head, 12));
        c.output.borrow(bytes.data() + 12, bytes.size() - 12);
    }
    if (options.acks != 0 || options.api != "produce") c.waiting.push_back({since, c.next_correlation, which});
    c.next_correlation = (c.next_correlation + 1) & 0x3fffffff;
}

bool flush(Connection& c) {
    if (c.small_at < c.small.size()) {
        iovec part{(void*)(c.small.data() + c.small_at), c.small.size() - c.small_at};
        ssize_t n = send_parts(c.fd, &part, 1);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (n > 0) c.small_at += n;
        if (c.small_at == c.small.size()) { c.small.clear(); c.small_at = 0; }
    }
    return c.output.flush(c.fd);
}

void count_error(int code) {
    failed++;
    errors[code]++;
}

// Error code of the one partition an answer holds, or 30000 where it is not the partition asked for, 30001 if malformed.
int read_produced(Reader& r, const Template& t) {
    if (r.count(true) != 1 || r.string(true) != t.topic || r.count(true) != 1 || r.i32() != t.partition) return r.bad ? 30001 : 30000;
    int error = r.i16();
    int64_t base = r.i64();
    if (r.bad) return 30001;
    return error == 0 && base < 0 ? 30001 : error;
}

int read_fetched(Reader& r, const Template& t, size_t frame) {
    r.i32();
    int top = r.i16();
    r.i32();
    if (top) return top;
    if (r.count(true) != 1 || r.string(true) != t.topic || r.count(true) != 1 || r.i32() != t.partition) return r.bad ? 30001 : 30000;
    int error = r.i16();
    r.skip(24);
    int32_t aborted = r.count(true);
    if (aborted > 0) return 30001;
    r.i32();
    int32_t length = r.length_of_bytes(true);
    if (r.bad) return 30001;
    if (error) return error;
    return (size_t)length == options.size && (size_t)length < frame ? 0 : 30001;
}

// Takes one answer. 1 taken, 0 more bytes needed, -1 what came is no answer to anything.
int take_answer(Connection& c) {
    Input& in = c.input;
    if (in.to_discard || in.have() < 4) return 0;
    size_t frame = 4 + (size_t)load_be32(in.data());
    if (frame < 9 || frame > (200u << 20)) return -1;
    if (in.have() < (frame <= LONG ? frame : 256)) {
        if (frame <= LONG) in.make_room(frame - in.have());
        return 0;
    }
    if (c.waiting.empty()) return -1;
    Waiting w = c.waiting.front();
    c.waiting.pop_front();
    Reader r(in.data() + 4, std::min(in.have(), frame) - 4);
    if (r.i32() != w.correlation) misordered++;
    r.tags(true);
    const Template& t = templates[w.which];
    int error = options.api == "produce" ? read_produced(r, t) : read_fetched(r, t, frame);
    if (error) count_error(error);
    if (in.have() < frame) {
        // Latency counts until the last byte: the rest is dropped by the kernel, and then the answer is counted.
        in.discard(frame);
        c.waiting.push_front({w.since, -1, -1});
        return 2;
    }
    in.consume(frame);
    response_bytes += measuring ? frame : 0;
    if (measuring) { completed++; latency.add(now_ns() - w.since); }
    return 1;
}

// Reads what is there; the number of answers completed, or -1 when the connection is over.
int on_readable(Connection& c) {
    int answers = 0;
    // Inside TLS a record may be there that epoll does not know of, so there is no end before it is empty.
    for (int turns = 0; turns < 16 || tls::find(c.fd); turns++) {
        ssize_t got = c.input.receive(c.fd);
        if (got < 0) return -1;
        if (got == 0) break;
        if (c.input.to_discard == 0 && !c.waiting.empty() && c.waiting.front().which < 0) {
            if (measuring) { completed++; response_bytes += options.size; latency.add(now_ns() - c.waiting.front().since); }
            c.waiting.pop_front();
            answers++;
        }
        int taken;
        while ((taken = take_answer(c)) == 1) answers++;
        if (taken < 0) return -1;
    }
    return answers;
}

void update_interest(int epoll, Connection& c) {
    bool wants = !c.output.empty() || c.small_at < c.small.size();
    if (wants == c.wants_write) return;
    c.wants_write = wants;
    epoll_event event{EPOLLIN | (wants ? (uint32_t)EPOLLOUT : 0u), {.ptr = &c}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c.fd, &event);
}

void lose(int epoll, Connection& c) {
    if (c.lost) return;
    c.lost = true;
    lost++;
    epoll_ctl(epoll, EPOLL_CTL_DEL, c.fd, nullptr);
}

// The loop of both modes: answers are read as they come, and requests are sent as the mode says.
void run(std::vector<std::unique_ptr<Connection>>& all) {
    int epoll = epoll_create1(0);
    for (auto& c : all) {
        set_non_blocking(c->fd);
        epoll_event event{EPOLLIN, {.ptr = c.get()}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    }
    const bool open_loop = options.rate > 0;
    uint64_t start = now_ns(), measure_at = start + (uint64_t)(options.warmup * 1e9);
    uint64_t stop_at = measure_at + (uint64_t)(options.seconds * 1e9), next_send = start, turn = 0;
    const double gap = open_loop ? 1e9 / options.rate : 0;
    uint64_t sent = 0;
    for (auto& c : all) {
        for (int k = 0; !open_loop && k < options.in_flight; k++) send_next(*c, start);
        if (!flush(*c)) lose(epoll, *c);
        update_interest(epoll, *c);
    }
    for (uint64_t now = start; now < stop_at && lost < all.size(); now = now_ns()) {
        if (!measuring && now >= measure_at) begin_measuring(now);
        while (open_loop && next_send <= now) {
            Connection& c = *all[turn++ % all.size()];
            if (!c.lost) {
                send_next(c, next_send);
                if (!flush(c)) lose(epoll, c);
                update_interest(epoll, c);
            }
            next_send = start + (uint64_t)(++sent * gap);
        }
        uint64_t until = open_loop ? std::min(next_send, stop_at) : stop_at;
        now = now_ns();
        uint64_t pause = until > now ? until - now : 0;
        timespec wait{(time_t)(pause / 1000000000), (long)(pause % 1000000000)};
        epoll_event events[256];
        int n = epoll_pwait2(epoll, events, 256, &wait, nullptr);
        for (int i = 0; i < n; i++) {
            Connection& c = *(Connection*)events[i].data.ptr;
            int answers = on_readable(c);
            if (answers < 0) { lose(epoll, c); continue; }
            uint64_t at = now_ns();
            for (int k = 0; !open_loop && k < answers; k++) send_next(c, at);
            if (!flush(c)) lose(epoll, c);
            else update_interest(epoll, c);
        }
    }
}

// After what is measured: takes the answers that are still on their way, so that nothing is left in the middle.
void await_answers(std::vector<std::unique_ptr<Connection>>& all) {
    const uint64_t until = now_ns() + 2000000000;
    for (auto& c : all) {
        while (!c->lost && !c->waiting.empty() && now_ns() < until) {
            pollfd one{c->fd, POLLIN, 0};
            if (!flush(*c) || (poll(&one, 1, 100) > 0 && on_readable(*c) < 0)) c->lost = true;
        }
    }
}

// acks=0 has no answers to count: what is counted is what the socket took.
void run_without_answers(std::vector<std::unique_ptr<Connection>>& all) {
    uint64_t start = now_ns(), measure_at = start + (uint64_t)(options.warmup * 1e9);
    uint64_t stop_at = measure_at + (uint64_t)(options.seconds * 1e9);
    for (auto& c : all) set_non_blocking(c->fd);
    for (uint64_t now = start; now < stop_at && lost < all.size(); now = now_ns()) {
        if (!measuring && now >= measure_at) begin_measuring(now);
        std::vector<pollfd> polls;
        for (auto& c : all) polls.push_back({c->fd, POLLOUT, 0});
        poll(polls.data(), polls.size(), 100);
        for (size_t i = 0; i < all.size(); i++) {
            Connection& c = *all[i];
            if (c.lost || !(polls[i].revents & (POLLOUT | POLLHUP | POLLERR))) continue;
            for (int k = 0; k < options.in_flight; k++) send_next(c, now);
            bool alive = flush(c) && (c.small_at == c.small.size() || !(polls[i].revents & (POLLHUP | POLLERR)));
            if (!alive) { c.lost = true; lost++; }
            else if (measuring) completed += options.in_flight;
        }
    }
}

// Holds C logged-in connections open and still until stdin ends: for measuring what an idle connection costs.
void run_idle() {
    printf("{\"ready\": true}\n");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {}
}

// Connects, logs in, closes, one after another: what a login costs.
void run_connect() {
    uint64_t start = now_ns(), measure_at = start + (uint64_t)(options.warmup * 1e9);
    uint64_t stop_at = measure_at + (uint64_t)(options.seconds * 1e9);
    for (uint64_t now = start; now < stop_at; now = now_ns()) {
        if (!measuring && now >= measure_at) begin_measuring(now);
        uint64_t since = now_ns();
        tls::close(open_connection());
        if (measuring) { completed++; latency.add(now_ns() - since); }
    }
}

std::string read_token(const std::string& path) {
    FILE* file = fopen(path.c_str(), "r");
    if (!file) die("cannot read " + path);
    std::string text;
    for (int c; (c = fgetc(file)) != EOF;) text.push_back((char)c);
    fclose(file);
    while (!text.empty() && isspace((unsigned char)text.back())) text.pop_back();
    return text;
}

void parse_options(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
        std::string name = argv[i];
        auto value = [&]() -> std::string { if (++i >= argc) die(name + " wants a value"); return argv[i]; };
        auto number = [&]() { return atof(value().c_str()); };
        if (name == "--target") std::tie(options.host, options.port) = host_and_port(value());
        else if (name == "--sasl") options.sasl = value();
        else if (name == "--user") options.user = value();
        else if (name == "--token-file") options.token = read_token(value());
        else if (name == "--api") options.api = value();
        else if (name == "--size") options.size = (size_t)number();
        else if (name == "--value-bytes") options.value_bytes = (size_t)number();
        else if (name == "--secrets") options.secrets = true;
        else if (name == "--tls") tls::begin(value());
        else if (name == "--codec") options.codec = find_codec(value());
        else if (name == "--acks") options.acks = (int)number();
        else if (name == "--connections") options.connections = (int)number();
        else if (name == "--in-flight") options.in_flight = (int)number();
        else if (name == "--seconds") options.seconds = number();
        else if (name == "--warmup") options.warmup = number();
        else if (name == "--rate") options.rate = number();
        else if (name == "--topics") options.topics = (int)number();
        else if (name == "--cpu-of") options.cpu_of.push_back((int)number());
        else if (name == "--partitions") options.partitions = (int)number();
        else die("unknown option " + name);
    }
    options.cpu_of.push_back(getpid());
    if (options.port == 0) die("want --target HOST:PORT");
    if (options.api != "produce" && options.api != "fetch" && options.api != "idle" && options.api != "connect") die("unknown --api " + options.api);
}

void report() {
    double elapsed = (double)(now_ns() - measured_from) / 1e9;
    std::string codes, cpu;
    for (int pid : options.cpu_of) {
        char text[64];
        snprintf(text, sizeof text, "%s\"%s\": %.3f", cpu.empty() ? "" : ", ", pid == getpid() ? "load" : std::to_string(pid).c_str(),
                 cpu_seconds(pid) - cpu_before[pid]);
        cpu += text;
    }
    for (auto [code, n] : errors)
        if (n) codes += (codes.empty() ? "\"" : ", \"") + std::to_string(code) + "\": " + std::to_string(n);
    auto us = [](uint64_t ns) { return (double)ns / 1000.0; };
    printf("{\"requests\": %lu, \"seconds\": %.6f, \"per_second\": %.1f, \"size\": %zu, \"mb_per_second\": %.2f, \"failed\": %lu, "
           "\"misordered\": %lu, \"lost\": %lu, \"errors\": {%s}, \"cpu_seconds\": {%s}, \"latency_us\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
           "\"p99_9\": %.1f, \"max\": %.1f}}\n",
           completed, elapsed, (double)completed / elapsed, options.size, (double)completed * (double)options.size / elapsed / 1e6, failed,
           misordered, lost, codes.c_str(), cpu.c_str(), us(latency.quantile(.5)), us(latency.quantile(.9)), us(latency.quantile(.99)),
           us(latency.quantile(.999)), us(latency.largest));
}

int main(int argc, char** argv) {
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    find_leader();
    if (options.api == "connect") {
        run_connect();
        report();
        return failed != 0;
    }
    if (options.api != "idle") build_templates();
    std::vector<std::unique_ptr<Connection>> all;
    for (int i = 0; i < options.connections; i++) {
        all.push_back(std::make_unique<Connection>());
        all.back()->fd = open_connection();
        all.back()->next_template = templates.empty() ? 0 : (size_t)i * 7 % templates.size();
    }
    if (options.api == "idle") {
        run_idle();
        return 0;
    }
    if (options.acks == 0 && options.api == "produce") run_without_answers(all);
    else run(all);
    report();
    await_answers(all);
    return failed || misordered || lost || completed == 0;
}
