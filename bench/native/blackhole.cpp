// A Kafka broker that keeps nothing: it answers what a producer, a consumer or a proxy asks, as fast as one thread can.
//
//   blackhole --listen PORT[=HOST:PORT]… [--topics N] [--partitions N] [--fetch-bytes N]… [--value-bytes N] [--secrets]
//             [--verify] [--hidden NAME]…
//
// Each --listen is a way in with the address it advertises (its own by default). Topics are bench-0 … bench-(N-1).
// SASL is answered when asked for (PLAIN and OAUTHBEARER, any credential) and never demanded.
// A fetch is answered with the longest canned batch that its partition_max_bytes allows, or the first one.
// --verify checks the CRC-32C of every produced batch and answers CORRUPT_MESSAGE where it is wrong.
// On SIGTERM it prints one line of JSON with what it saw.
#include <signal.h>

#include "wire.hpp"

struct Way { int port; std::string host; int advertised; };

struct Options {
    std::vector<Way> ways;
    std::vector<std::string> topics;
    int topic_count = 10, partitions = 4;
    std::vector<size_t> fetch_bytes;
    size_t value_bytes = 1024;
    bool secrets = false, verify = false;
} options;

struct Range { int key, min, max; };
// Produce is advertised from 0 because old librdkafka switches compression off otherwise.
const Range RANGES[] = {{PRODUCE, 0, 11}, {FETCH, 4, 12}, {LIST_OFFSETS, 1, 7}, {METADATA, 0, 12},
                        {SASL_HANDSHAKE, 0, 1}, {API_VERSIONS, 0, 3}, {SASL_AUTHENTICATE, 0, 2}};

std::map<size_t, std::string> fetch_batches;    // by size
std::map<std::string, std::vector<int64_t>, std::less<>> next_offset;
uint64_t produced = 0, produced_bytes = 0, fetched = 0, connections = 0, corrupt = 0, malformed = 0;
volatile sig_atomic_t stopping = 0;

struct Connection {
    int fd;
    const Way* way;
    Input input;
    Output output;
    bool wants_write = false;
};

struct Head { int api, version; int32_t correlation; bool flexible; };

std::string begin_response(const Head& head) {
    Writer w;
    w.i32(0);
    w.i32(head.correlation);
    w.tags(head.flexible && head.api != API_VERSIONS);
    return w.out;
}

void finish(Connection& c, Writer& w, size_t more = 0) {
    store_be32(&w.out[0], (uint32_t)(w.out.size() - 4 + more));
    c.output.add(std::move(w.out));
}

void answer_api_versions(Connection& c, const Head& head) {
    bool known = head.version <= 3;
    Writer w{begin_response(head)};
    bool flexible = known && head.version >= 3;
    w.i16(known ? 0 : 35);
    w.count(known ? (int)std::size(RANGES) : 1, flexible);
    for (const Range& r : RANGES) {
        if (!known && r.key != API_VERSIONS) continue;
        w.i16(r.key); w.i16(r.min); w.i16(r.max);
        w.tags(flexible);
    }
    if (known && head.version >= 1) w.i32(0);
    w.tags(flexible);
    finish(c, w);
}

void answer_handshake(Connection& c, const Head& head, Reader& r) {
    std::string_view mechanism = r.string(false);
    Writer w{begin_response(head)};
    w.i16(mechanism == "PLAIN" || mechanism == "OAUTHBEARER" ? 0 : 33);
    w.count(2, false);
    w.string("PLAIN", false);
    w.string("OAUTHBEARER", false);
    finish(c, w);
}

void answer_authenticate(Connection& c, const Head& head) {
    Writer w{begin_response(head)};
    w.i16(0);
    w.null_string(head.flexible);
    w.bytes("", head.flexible);
    if (head.version >= 1) w.i64(0);
    w.tags(head.flexible);
    finish(c, w);
}

void write_topic(Writer& w, const Head& head, std::string_view name, int error) {
    const bool f = head.flexible;
    const int v = head.version;
    w.i16(error);
    w.string(name, f);
    if (v >= 10) { w.i64(0); w.i64(error ? 0 : (int64_t)std::hash<std::string_view>{}(name)); }
    if (v >= 1) w.i8(0);
    w.count(error ? 0 : options.partitions, f);
    for (int p = 0; !error && p < options.partitions; p++) {
        w.i16(0); w.i32(p); w.i32(1);
        if (v >= 7) w.i32(0);
        w.count(1, f); w.i32(1);
        w.count(1, f); w.i32(1);
        if (v >= 5) w.count(0, f);
        w.tags(f);
    }
    if (v >= 8) w.i32(INT32_MIN);
    w.tags(f);
}

void answer_metadata(Connection& c, const Head& head, Reader& r) {
    const bool f = head.flexible;
    const int v = head.version;
    int32_t n = r.count(f);
    bool all = v == 0 ? n == 0 : n < 0;
    std::vector<std::string_view> names;
    for (int32_t i = 0; i < n && !r.bad; i++) {
        if (v >= 10) r.skip(16);
        names.push_back(r.string(f));
        r.tags(f);
    }
    if (all) names.assign(options.topics.begin(), options.topics.end());
    Writer w{begin_response(head)};
    if (v >= 3) w.i32(0);
    w.count(1, f);
    w.i32(1); w.string(c.way->host, f); w.i32(c.way->advertised);
    if (v >= 1) w.null_string(f);
    w.tags(f);
    if (v >= 2) w.string("blackhole", f);
    if (v >= 1) w.i32(1);
    w.count((int32_t)names.size(), f);
    for (auto name : names) write_topic(w, head, name, next_offset.find(name) == next_offset.end() ? 3 : 0);
    if (v >= 8 && v <= 10) w.i32(INT32_MIN);
    w.tags(f);
    finish(c, w);
}

struct Batch { std::string_view topic; int32_t partition; int32_t length; int32_t records; int error; };

// Reads one partition's record set as far as it is here; `whole` says that all of it is.
Batch read_partition(Reader& r, bool f, std::string_view topic, bool whole) {
    Batch b{topic, r.i32(), 0, 0, 0};
    b.length = r.length_of_bytes(f);
    Reader batch(r.at, std::min<size_t>(r.left(), b.length > 0 ? b.length : 0));
    const unsigned char* start = batch.at;
    batch.skip(16);
    bool magic_2 = batch.i8() == 2;
    uint32_t crc = (uint32_t)batch.i32();
    batch.skip(36);
    b.records = batch.i32();
    if (r.bad || batch.bad || !magic_2) b.error = 2;
    else if (whole && options.verify && crc32c(start + 21, b.length - 21) != crc) b.error = 2;
    auto found = next_offset.find(topic);
    if (!b.error && (found == next_offset.end() || b.partition < 0 || b.partition >= options.partitions)) b.error = 3;
    return b;
}

void write_produced(Writer& w, const Head& head, const Batch& b) {
    const bool f = head.flexible;
    int64_t base = -1;
    if (b.error == 0) {
        int64_t& next = next_offset.find(b.topic)->second[b.partition];
        base = next;
        next += b.records;
        produced_bytes += b.length;
    } else if (b.error == 2) {
        corrupt++;
    }
    w.i32(b.partition); w.i16(b.error); w.i64(base);
    if (head.version >= 2) w.i64(-1);
    if (head.version >= 5) w.i64(0);
    if (head.version >= 8) { w.count(0, f); w.null_string(f); }
    w.tags(f);
}

// A produce of one partition can be answered from its head alone; its records are thrown away unread.
// Returns false if this frame is not such a one (or not enough of it is here).
bool answer_long_produce(Connection& c, const Head& head, Reader r, size_t frame) {
    const bool f = head.flexible;
    r.string(f);
    int acks = r.i16();
    r.i32();
    if (r.count(f) != 1) return false;
    std::string_view topic = r.string(f);
    if (r.count(f) != 1 || r.left() < 80) return false;
    Batch b = read_partition(r, f, topic, false);
    if (b.error == 2) return false;
    produced++;
    if (acks != 0) {
        Writer w{begin_response(head)};
        w.count(1, f);
        w.string(topic, f);
        w.count(1, f);
        write_produced(w, head, b);
        w.tags(f);
        w.i32(0);
        w.tags(f);
        finish(c, w);
    }
    c.input.discard(frame);
    return true;
}

void answer_produce(Connection& c, const Head& head, Reader& r) {
    const bool f = head.flexible;
    r.string(f);
    int acks = r.i16();
    r.i32();
    Writer w{begin_response(head)};
    int32_t topics = r.count(f);
    w.count(topics, f);
    for (int32_t t = 0; t < topics && !r.bad; t++) {
        std::string_view topic = r.string(f);
        int32_t partitions = r.count(f);
        w.string(topic, f);
        w.count(partitions, f);
        for (int32_t p = 0; p < partitions && !r.bad; p++) {
            Batch b = read_partition(r, f, topic, true);
            r.skip(std::max(b.length, 0));
            write_produced(w, head, b);
            r.tags(f);
        }
        r.tags(f);
        w.tags(f);
    }
    w.i32(0);
    w.tags(f);
    produced++;
    if (r.bad) malformed++;
    if (acks != 0) finish(c, w);
}

// The canned batch is shared by all answers; only its base offset, which no CRC covers, is this answer's own.
void write_fetched(Connection& c, Writer& w, const Head& head, int32_t partition, int64_t offset, int32_t room, bool known) {
    const bool f = head.flexible;
    const int v = head.version;
    w.i32(partition); w.i16(known ? 0 : 3); w.i64(known ? INT64_MAX / 2 : -1); w.i64(known ? INT64_MAX / 2 : -1);
    if (v >= 5) w.i64(0);
    w.null_array(f);
    if (v >= 11) w.i32(-1);
    if (!known) { w.bytes_length(0, f); w.tags(f); return; }
    auto longer = fetch_batches.upper_bound(room > 0 ? room : 0);
    const std::string& batch = longer == fetch_batches.begin() ? longer->second : std::prev(longer)->second;
    w.bytes_length(batch.size(), f);
    w.i64(offset);
    c.output.add(std::move(w.out));
    w.out.clear();
    c.output.borrow(batch.data() + 8, batch.size() - 8);
    w.tags(f);
}

void answer_fetch(Connection& c, const Head& head, Reader& r) {
    const bool f = head.flexible;
    const int v = head.version;
    r.skip(17);                     // replica id, max wait, min bytes, max bytes, isolation level
    if (v >= 7) r.skip(8);
    Output parts;
    std::swap(parts, c.output);     // what this answer adds is kept apart until its size is known
    Writer w{begin_response(head)};
    w.i32(0);
    if (v >= 7) { w.i16(0); w.i32(0); }
    int32_t topics = r.count(f);
    w.count(topics, f);
    for (int32_t t = 0; t < topics && !r.bad; t++) {
        std::string_view topic = r.string(f);
        auto found = next_offset.find(topic);
        int32_t partitions = r.count(f);
        w.string(topic, f);
        w.count(partitions, f);
        for (int32_t p = 0; p < partitions && !r.bad; p++) {
            int32_t partition = r.i32();
            if (v >= 9) r.skip(4);
            int64_t offset = r.i64();
            if (v >= 12) r.skip(4);
            if (v >= 5) r.skip(8);
            int32_t room = r.i32();
            r.tags(f);
            write_fetched(c, w, head, partition, offset, room, found != next_offset.end() && partition >= 0 && partition < options.partitions);
        }
        r.tags(f);
        w.tags(f);
    }
    w.tags(f);
    c.output.add(std::move(w.out));
    size_t size = 0;
    for (auto& s : c.output.segments) size += s.length;
    store_be32(const_cast<char*>(c.output.segments.front().at), (uint32_t)(size - 4));
    for (auto& s : c.output.segments) parts.segments.push_back(std::move(s));
    std::swap(parts, c.output);
    fetched++;
    if (r.bad) malformed++;
}

void answer_list_offsets(Connection& c, const Head& head, Reader& r) {
    const bool f = head.flexible;
    const int v = head.version;
    r.skip(4);
    if (v >= 2) r.skip(1);
    Writer w{begin_response(head)};
    if (v >= 2) w.i32(0);
    int32_t topics = r.count(f);
    w.count(topics, f);
    for (int32_t t = 0; t < topics && !r.bad; t++) {
        w.string(r.string(f), f);
        int32_t partitions = r.count(f);
        w.count(partitions, f);
        for (int32_t p = 0; p < partitions && !r.bad; p++) {
            w.i32(r.i32()); w.i16(0); w.i64(-1); w.i64(0);
            if (v >= 4) { r.skip(4); w.i32(0); }
            r.skip(8);
            r.tags(f);
            w.tags(f);
        }
        r.tags(f);
        w.tags(f);
    }
    w.tags(f);
    finish(c, w);
}

// Takes one frame off the input. 1: taken, 0: more bytes needed, -1: this is not Kafka.
int take_frame(Connection& c) {
    Input& in = c.input;
    if (in.to_discard || in.have() < 4) return 0;
    uint32_t size = load_be32(in.data());
    if (size < 10 || size > 200u << 20) return -1;
    size_t frame = 4 + (size_t)size;
    bool whole = in.have() >= frame;
    if (!whole && (in.have() < 1024 || options.verify)) {
        in.make_room(std::min<size_t>(frame - in.have(), 4 << 20));
        return 0;
    }
    Reader r(in.data() + 4, std::min(in.have(), frame) - 4);
    Head head{r.i16(), r.i16(), r.i32(), false};
    head.flexible = is_flexible(head.api, head.version);
    r.string(false);
    r.tags(head.flexible);
    if (!whole) {
        if (head.api == PRODUCE && answer_long_produce(c, head, r, frame)) return 1;
        in.make_room(std::min<size_t>(frame - in.have(), 4 << 20));
        return 0;
    }
    switch (head.api) {
        case API_VERSIONS: answer_api_versions(c, head); break;
        case SASL_HANDSHAKE: answer_handshake(c, head, r); break;
        case SASL_AUTHENTICATE: answer_authenticate(c, head); break;
        case METADATA: answer_metadata(c, head, r); break;
        case PRODUCE: answer_produce(c, head, r); break;
        case FETCH: answer_fetch(c, head, r); break;
        case LIST_OFFSETS: answer_list_offsets(c, head, r); break;
        default: malformed++; return -1;
    }
    in.consume(frame);
    return 1;
}

// False when the connection is over.
bool on_readable(Connection& c) {
    for (int turns = 0; turns < 16; turns++) {
        ssize_t got = c.input.receive(c.fd);
        if (got < 0) return false;
        if (got == 0) break;
        int taken;
        while ((taken = take_frame(c)) == 1) {}
        if (taken < 0) return false;
    }
    return c.output.flush(c.fd);
}

int listen_on(const Way& way) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address = loopback("127.0.0.1", way.port);
    if (bind(fd, (sockaddr*)&address, sizeof address) || listen(fd, 4096)) die("cannot listen on port " + std::to_string(way.port));
    set_non_blocking(fd);
    return fd;
}

void parse_options(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
        std::string name = argv[i];
        auto value = [&]() -> std::string { if (++i >= argc) die(name + " wants a value"); return argv[i]; };
        if (name == "--listen") {
            std::string text = value();
            size_t equals = text.find('=');
            int port = atoi(text.c_str());
            auto to = equals == std::string::npos ? std::make_pair(std::string("127.0.0.1"), port) : host_and_port(text.substr(equals + 1));
            options.ways.push_back({port, to.first, to.second});
        } else if (name == "--topics") options.topic_count = atoi(value().c_str());
        else if (name == "--partitions") options.partitions = atoi(value().c_str());
        else if (name == "--fetch-bytes") options.fetch_bytes.push_back(strtoul(value().c_str(), nullptr, 10));
        else if (name == "--value-bytes") options.value_bytes = strtoul(value().c_str(), nullptr, 10);
        else if (name == "--secrets") options.secrets = true;
        else if (name == "--verify") options.verify = true;
        else die("unknown option " + name);
    }
    if (options.fetch_bytes.empty()) options.fetch_bytes = {65536};
    if (options.ways.empty()) die("want at least one --listen PORT[=HOST:PORT]");
}

int main(int argc, char** argv) {
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct sigaction action{};
    action.sa_handler = [](int) { stopping = 1; };
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    for (int t = 0; t < options.topic_count; t++) {
        options.topics.push_back("bench-" + std::to_string(t));
        next_offset[options.topics.back()] = std::vector<int64_t>(options.partitions);
    }
    for (size_t size : options.fetch_bytes) fetch_batches[size] = record_batch(size, options.value_bytes, options.secrets);

    int epoll = epoll_create1(0);
    std::map<int, const Way*> listeners;
    std::map<int, std::unique_ptr<Connection>> open;
    for (const Way& way : options.ways) {
        int fd = listen_on(way);
        listeners[fd] = &way;
        epoll_event event{EPOLLIN, {.fd = fd}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
    printf("{\"ready\": true}\n");
    fflush(stdout);
    while (!stopping) {
        epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (auto listener = listeners.find(fd); listener != listeners.end()) {
                int accepted;
                while ((accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK)) >= 0) {
                    set_no_delay(accepted);
                    auto c = std::make_unique<Connection>();
                    c->fd = accepted;
                    c->way = listener->second;
                    open[accepted] = std::move(c);
                    epoll_event event{EPOLLIN, {.fd = accepted}};
                    epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
                    connections++;
                }
                continue;
            }
            auto found = open.find(fd);
            if (found == open.end()) continue;
            Connection& c = *found->second;
            bool alive = true;
            if (events[i].events & EPOLLOUT) alive = c.output.flush(fd);
            if (alive && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) alive = on_readable(c);
            if (!alive) {
                close(fd);
                open.erase(found);
            } else if (c.wants_write != !c.output.empty()) {
                // While a reader is slow its requests wait too: what is queued for it stays bounded.
                c.wants_write = !c.output.empty();
                epoll_event event{c.wants_write ? (uint32_t)EPOLLOUT : (uint32_t)EPOLLIN, {.fd = fd}};
                epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
            }
        }
    }
    printf("{\"produced\": %lu, \"produced_bytes\": %lu, \"fetched\": %lu, \"connections\": %lu, \"corrupt\": %lu, \"malformed\": %lu}\n",
           produced, produced_bytes, fetched, connections, corrupt, malformed);
    return 0;
}
