// Dropout factors of units. The units are divided into runs; those of a run have the random bits that the keys of one
// query would have, so runs are independent.
#pragma once
#include "block.h"
#include "parallel.h"

namespace REGARD_LEVEL {
constexpr i64 RUN = 1 << 14;

template <class U> static void fill_factors(char* at, i64 n, uint32_t row, int32_t keep_threshold, U kept) {
    U* to = (U*)at;
    for (i64 j = 0; j < n; ++j) to[j] = (int32_t)hash32(row ^ ((uint32_t)j * GOLDEN)) >= keep_threshold ? kept : U(0);
}

static void drop_units_run(void* context, i64 task, char*) {
    const Units& u = *(const Units*)context;
    i64 from = task * RUN, n = min(RUN, u.count - from);
    char* to = u.to + from * u.size;
    uint32_t row = row_hash(u.seed, UNITS, 0, task >> 32, task);
    if (u.size == 2) return fill_factors(to, n, row, (int32_t)u.keep_threshold, (uint16_t)u.kept);
    if (u.size == 4) return fill_factors(to, n, row, (int32_t)u.keep_threshold, (uint32_t)u.kept);
    fill_factors(to, n, row, (int32_t)u.keep_threshold, (uint64_t)u.kept);
}

static void drop_units(const Units& u) { parallel((u.count + RUN - 1) / RUN, u.threads, drop_units_run, (void*)&u, 0); }
}  // namespace REGARD_LEVEL
