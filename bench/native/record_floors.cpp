// What the libraries alone cost on records, as floors for kproxy's record work. Reads a file of JSON records, one a line,
// prints `name MB/s` for each floor: the best of the time given, one thread, no batch around the records.
//
//   record_floors FILE SECONDS_EACH
#include <lz4frame.h>
#include <re2/re2.h>
#include <re2/set.h>
#include <simdjson.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "crc32c.hpp"
#include "entities.hpp"

namespace {

using Clock = std::chrono::steady_clock;
const int FIVE[] = {kproxy::EMAIL, kproxy::CREDIT_CARD, kproxy::US_SSN, kproxy::IBAN, kproxy::IPV4};
volatile uint64_t sink;

void measure(const char* name, size_t bytes, double seconds, const std::function<void()>& work) {
    work();
    double best = 1e9;
    for (auto until = Clock::now() + std::chrono::duration<double>(seconds); Clock::now() < until;) {
        auto start = Clock::now();
        work();
        best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
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

void measure_codecs(const std::string& all, double seconds) {
    LZ4F_preferences_t preferences{};
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    std::string packed(LZ4F_compressFrameBound(all.size(), &preferences), '\0'), back(all.size(), '\0');
    size_t size = LZ4F_compressFrame(&packed[0], packed.size(), all.data(), all.size(), &preferences);
    measure("lz4_compress", all.size(), seconds, [&] {
        sink += LZ4F_compressFrame(&packed[0], packed.size(), all.data(), all.size(), &preferences);
    });
    LZ4F_dctx* context = nullptr;
    LZ4F_createDecompressionContext(&context, LZ4F_VERSION);
    measure("lz4_decompress", all.size(), seconds, [&] {
        size_t made = back.size(), taken = size;
        sink += LZ4F_decompress(context, &back[0], &made, packed.data(), &taken, nullptr);
    });
    LZ4F_freeDecompressionContext(context);
    measure("crc32c", all.size(), seconds, [&] {
        sink += kproxy::crc32c(reinterpret_cast<const unsigned char*>(all.data()), all.size());
    });
    std::printf("packed_share %.4f\n", static_cast<double>(size) / static_cast<double>(all.size()));
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) return 2;
    double seconds = std::atof(arguments[2]);
    std::ifstream file(arguments[1]);
    std::vector<std::string> records;
    std::string all, line;
    while (std::getline(file, line)) {
        all += line;
        line.reserve(line.size() + simdjson::SIMDJSON_PADDING);
        records.push_back(line);
        records.back().reserve(line.size() + simdjson::SIMDJSON_PADDING);
    }
    measure_patterns(records, all.size(), seconds);
    simdjson::ondemand::parser parser;
    measure("simdjson", all.size(), seconds, [&] {
        for (auto& record : records) {
            simdjson::ondemand::document document;
            std::string_view found;
            if (parser.iterate(record).get(document)) continue;
            if (!document["user"]["email"].get_string().get(found)) sink += found.size();
        }
    });
    measure_codecs(all, seconds);
    return 0;
}
