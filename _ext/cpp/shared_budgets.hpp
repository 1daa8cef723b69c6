// What the workers of a node count together: tables in memory that all of them map, changed by single atomic steps, so
// that a worker that dies at any point leaves them whole. A row belongs to its key from the first use on.
#pragma once
#include <cstddef>
#include <cstdint>

namespace kproxy {

enum { KINDS = 3, ROWS = 1 << 14, LONGEST_WALK = 256 };

constexpr int64_t SECOND = 1000000000;
constexpr int64_t BURST = SECOND;           // what may be used at once after a pause: a second's worth
// The longest a connection waits: for bytes less than the thirty seconds after which clients give a request up, for
// requests a second, as Kafka has it (KIP-124), so that heartbeats and logins are late at most.
constexpr int64_t MOST[KINDS] = {25 * SECOND, 25 * SECOND, SECOND};

struct Budget {
    uint64_t key;           // 0: free
    int64_t due[KINDS];     // nanoseconds of CLOCK_MONOTONIC at which all that was used is paid for
    uint64_t rates[KINDS];  // what `due` was reckoned by: the bits of a double; 0: nothing yet
    uint64_t unused;        // a cache line of its own
};

struct Holder {
    uint64_t key;           // 0: free
    uint64_t state;         // the worker's process id, and how many it holds
};

struct SharedBudgets {
    Budget budgets[ROWS];
    Holder holders[ROWS];
};

template <typename Row>
inline bool owns(Row* row, uint64_t key) {
    uint64_t found = __atomic_load_n(&row->key, __ATOMIC_ACQUIRE);
    if (found == 0 && __atomic_compare_exchange_n(&row->key, &found, key, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return true;
    return found == key;
}

// nullptr: the table is full.
inline Budget* find_budget(SharedBudgets* shared, uint64_t key) {
    for (size_t step = 0; step < LONGEST_WALK; ++step) {
        Budget* row = &shared->budgets[(key + step) & (ROWS - 1)];
        if (owns(row, key)) return row;
    }
    return nullptr;
}

// Uses `amount` of what comes at `rate` a second; gives the nanoseconds to wait. This is the generic cell rate algorithm
// (ITU-T I.371), whose whole state is one number.
inline int64_t use_budget(Budget* row, int kind, double amount, double rate, int64_t now) {
    double cost = amount / rate * SECOND;
    const int64_t most = BURST + MOST[kind];
    int64_t more = cost < most ? static_cast<int64_t>(cost) : most;
    int64_t before = __atomic_load_n(&row->due[kind], __ATOMIC_RELAXED), after;
    do {
        // A time far ahead is of another boot of the machine.
        after = (before < now || before - now > most ? now : before) + more;
        if (after - now > most) after = now + most;
    } while (!__atomic_compare_exchange_n(&row->due[kind], &before, after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return after - now > BURST ? after - now - BURST : 0;
}

// Says by what rate a budget is used from now on. What is owed at another rate is time that was reckoned by it, and is
// forgotten: a quota that is raised may not hold anybody up for what the former one asked.
inline void set_rate(Budget* row, int kind, double rate) {
    uint64_t bits;
    __builtin_memcpy(&bits, &rate, sizeof bits);
    uint64_t before = __atomic_exchange_n(&row->rates[kind], bits, __ATOMIC_ACQ_REL);
    if (before != 0 && before != bits) __atomic_store_n(&row->due[kind], 0, __ATOMIC_RELEASE);
}

// The rows of a key, one after the other from `step` on; nullptr after the last.
inline Holder* next_holder(SharedBudgets* shared, uint64_t key, size_t* step) {
    while (*step < LONGEST_WALK) {
        Holder* row = &shared->holders[(key + (*step)++) & (ROWS - 1)];
        uint64_t found = __atomic_load_n(&row->key, __ATOMIC_ACQUIRE);
        if (found == key) return row;
        if (found == 0) return nullptr;
    }
    return nullptr;
}

// A free row behind those of other workers; nullptr: the table is full.
inline Holder* add_holder(SharedBudgets* shared, uint64_t key) {
    for (size_t step = 0; step < LONGEST_WALK; ++step) {
        Holder* row = &shared->holders[(key + step) & (ROWS - 1)];
        uint64_t found = 0;
        if (__atomic_compare_exchange_n(&row->key, &found, key, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return row;
    }
    return nullptr;
}

inline uint64_t read_state(Holder* row) { return __atomic_load_n(&row->state, __ATOMIC_ACQUIRE); }

inline bool change_state(Holder* row, uint64_t before, uint64_t after) {
    return __atomic_compare_exchange_n(&row->state, &before, after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

// What an earlier process of this number held when it died.
inline void forget_process(SharedBudgets* shared, uint64_t pid) {
    for (Holder& row : shared->holders) {
        uint64_t state = read_state(&row);
        while (state >> 32 == pid && (state & 0xffffffff) && !change_state(&row, state, pid << 32)) state = read_state(&row);
    }
}

}  // namespace kproxy
