// Counts the edges that instrumented code has run (-fsanitize-coverage=trace-pc), for the harness in ../harness.py.
// Preloaded, because the instrumented modules want the callback when they are loaded. One thread; an edge is the pair of
// two neighbouring blocks, as in AFL, with how often it was taken in eight classes.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { CELLS = 1 << 18 };

static uint8_t taken[CELLS];
static uint8_t known[CELLS];
static uintptr_t before;

void __sanitizer_cov_trace_pc(void) {
    uintptr_t block = (uintptr_t)__builtin_return_address(0) * 0x9E3779B97F4A7C15u >> 40;
    uint8_t *cell = &taken[(block ^ before) & (CELLS - 1)];
    if (*cell != 255) ++*cell;
    before = block >> 1;
}

static uint8_t class_of(uint8_t count) {
    if (count < 4) return (uint8_t)(1u << (count - 1));
    if (count < 8) return 8;
    if (count < 16) return 16;
    if (count < 32) return 32;
    return count < 128 ? 64 : 128;
}

// How many edges, or classes of how often, nobody had seen before; begins a new count.
int edges_new(void) {
    int fresh = 0;
    for (size_t at = 0; at < CELLS; at += sizeof(uint64_t)) {
        uint64_t eight;
        memcpy(&eight, taken + at, sizeof eight);
        if (eight == 0) continue;
        for (size_t one = at; one < at + sizeof eight; ++one) {
            if (taken[one] == 0) continue;
            uint8_t class = class_of(taken[one]);
            fresh += (known[one] & class) == 0;
            known[one] |= class;
            taken[one] = 0;
        }
    }
    before = 0;
    return fresh;
}

int edges_known(void) {
    int found = 0;
    for (size_t at = 0; at < CELLS; ++at) found += known[at] != 0;
    return found;
}

void edges_forget(void) {
    memset(known, 0, sizeof known);
    memset(taken, 0, sizeof taken);
    before = 0;
}
