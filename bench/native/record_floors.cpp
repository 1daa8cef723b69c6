// What the libraries alone cost on records, as floors for kproxy's record work. Reads a file of JSON records, one a line,
// prints `name MB/s` for each floor: the best of the time given, CPU time of one thread, no batch around the records.
// What is done to batches is done to BATCH records at a time.
//
//   record_floors FILE SECONDS_EACH BATCH
#include <lz4frame.h>
#include <re2/re2.h>
#include <re2/set.h>
#include <simdjson.h>

#include <ctime>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "crc32c.hpp"
#include "entities.hpp"

namespace {

const int FIVE[] = {kproxy::EMAIL, kproxy::CREDIT_CARD, kproxy::US_SSN, kproxy::IBAN, kproxy::IPV4};
volatile uint64_t sink;

double cpu_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void measure(const char* name, size_t bytes, double seconds, const std::function<void()>& work) {
    work();
    double best = 1e9;
    for (double until = cpu_seconds() + seconds, start = 0; (start = cpu_seconds()) < until;) {
        work();
        best = std::min(best, cpu_seconds() - start);
    }
    std::printf("%s %.1f\n", name, static_cast<double>(bytes) / best / 1e6);
}

void measure_patterns(const std::vector<std::string>& records, size_t bytes, double seconds) {
    RE2::Options options;
    options.set_encoding(RE2::Options::EncodingLatin1);
    options.set_max_mem(16 << 20);
    RE2::Set set(options, RE2::UNANCHORED);
    std::string any;
    for (int entity : FIVE) {
        set.Add(kproxy::entity_pattern(entity), nullptr);
        any += (any.empty() ? "(?:" : "|(?:") + std::string(kproxy::entity_pattern(entity)) + ")";
    }
    set.Compile();
    RE2 alternation(any, options);
    std::vector<int> which;
    measure("set", bytes, seconds, [&] {
        for (const auto& record : records) sink += set.Match(record, &which);
    });
    measure("find_all", bytes, seconds, [&] {
        for (const auto& record : records) {
            re2::StringPiece match;
            for (size_t at = 0; alternation.Match(record, at, record.size(), RE2::UNANCHORED, &match, 1);) {
                at = static_cast<size_t>(match.data() - record.data()) + match.size();
                sink++;
            }
        }
    });
}

struct Packed {
    std::string plain, bytes;
    size_t size = 0;
};

void measure_codecs(const std::vector<std::string>& records, size_t bytes, double seconds, size_t batch) {
    LZ4F_preferences_t preferences{};
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    std::vector<Packed> batches;
    for (size_t i = 0; i < records.size(); i++) {
        if (i % batch == 0) batches.emplace_back();
        batches.back().plain += records[i];
    }
    std::string back(bytes, '\0');
    size_t packed = 0;
    for (auto& one : batches) one.bytes.resize(LZ4F_compressFrameBound(one.plain.size(), &preferences));
    measure("lz4_compress", bytes, seconds, [&] {
        for (auto& one : batches)
            one.size = LZ4F_compressFrame(&one.bytes[0], one.bytes.size(), one.plain.data(), one.plain.size(), &preferences);
    });
    for (auto& one : batches) packed += one.size;
    LZ4F_dctx* context = nullptr;
    LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
    measure("lz4_decompress", bytes, seconds, [&] {
        for (auto& one : batches) {
            size_t made = back.size(), taken = one.size;
            sink += LZ4F_decompress(context, &back[0], &made, one.bytes.data(), &taken, nullptr);
        }
    });
    LZ4F_freeDecompressionContext(context);
    // One lane of the instruction, which is what a plain loop does.
    measure("crc32c", bytes, seconds, [&] {
        for (auto& one : batches)
            sink += kproxy::crc32c_by_instruction(~0u, reinterpret_cast<const unsigned char*>(one.plain.data()), one.plain.size());
    });
    // As kproxy does it.
    measure("crc32c_own", bytes, seconds, [&] {
        for (auto& one : batches)
            sink += kproxy::crc32c(reinterpret_cast<const unsigned char*>(one.plain.data()), one.plain.size());
    });
    std::printf("packed_share %.4f\n", static_cast<double>(packed) / static_cast<double>(bytes));
}

void measure_json(std::vector<std::string>& records, size_t bytes, double seconds) {
    simdjson::ondemand::parser parser;
    // Both members in one go, and nothing is known of what stands behind them: the least that the library can do.
    measure("look_up", bytes, seconds, [&] {
        for (auto& record : records) {
            simdjson::ondemand::document document;
            simdjson::ondemand::object user;
            std::string_view found;
            if (parser.iterate(record).get(document) || document["user"].get_object().get(user)) continue;
            if (!user["email"].get_string().get(found)) sink += found.size();
            if (!user["phone"].get_string().get(found)) sink += found.size();
        }
    });
    measure("pointers", bytes, seconds, [&] {
        for (auto& record : records) {
            simdjson::ondemand::document document;
            std::string_view found;
            if (parser.iterate(record).get(document)) continue;
            if (!document.at_pointer("/user/email").get_string().get(found)) sink += found.size();
            if (!document.at_pointer("/user/phone").get_string().get(found)) sink += found.size();
        }
    });
    // The whole document is held against the grammar, as it is before anything is hidden.
    simdjson::dom::parser whole;
    measure("whole", bytes, seconds, [&] {
        for (auto& record : records) {
            simdjson::dom::element document;
            std::string_view found;
            if (whole.parse(record.data(), record.size(), false).get(document)) continue;
            if (!document.at_pointer("/user/email").get_string().get(found)) sink += found.size();
            if (!document.at_pointer("/user/phone").get_string().get(found)) sink += found.size();
        }
    });
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) return 2;
    double seconds = std::atof(arguments[2]);
    std::ifstream file(arguments[1]);
    std::vector<std::string> records;
    std::string line;
    size_t bytes = 0;
    while (std::getline(file, line)) {
        bytes += line.size();
        records.push_back(line);
        records.back().reserve(line.size() + simdjson::SIMDJSON_PADDING);
    }
    measure_patterns(records, bytes, seconds);
    measure_json(records, bytes, seconds);
    measure_codecs(records, bytes, seconds, static_cast<size_t>(std::atoi(arguments[3])));
    return 0;
}
