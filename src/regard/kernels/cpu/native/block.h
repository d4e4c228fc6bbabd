// A block: up to LANES queries of one head, one in each lane of a few vectors, with the data of each lane's query.
#pragma once
#include "gemm.h"
#include "load.h"
#include "vmath.h"

namespace REGARD_LEVEL {
INLINE uint32_t hash32(uint32_t x) {  // lowbias32, as in random.py
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}
constexpr uint32_t GOLDEN = 0x9E3779B9u;
enum Stream : uint32_t { DROPPING = 1, NOISE = 2, UNITS = 3 };

INLINE uint32_t row_hash(i64 seed, uint32_t stream, i64 b, i64 h, i64 query) {
    uint32_t x = hash32((uint32_t)seed);
    x = hash32(x ^ ((uint32_t)((uint64_t)seed >> 32) * GOLDEN));
    x = hash32(x ^ (stream * GOLDEN));
    x = hash32(x ^ ((uint32_t)b * GOLDEN));
    x = hash32(x ^ ((uint32_t)h * GOLDEN));
    return hash32(x ^ ((uint32_t)query * GOLDEN));
}

template <class M> struct Block {
    using C = typename M::C;
    i64 b, h, hk;             // batch, query head, key head
    i64 first, n;             // the first query, and the number of lanes with a query
    i64 nv, ld;               // the number of vectors, and of all their lanes
    i64 low, high;            // no lane sees a key outside [low, high)
    i64 inner, outer;         // every lane sees all of [inner, outer)
    i64 lows[NV], highs[NV];  // low and high for the lanes of each vector
    i64 query[LANES<M>];      // the index of each lane's query
    bool consecutive;         // whether the indices are consecutive
    alignas(64) Int<C> start[LANES<M>], end[LANES<M>];
    alignas(64) uint32_t noise[LANES<M>], drop[LANES<M>];
    alignas(64) C poison[LANES<M>];
};

template <class M> static void begin_block(Block<M>& k, const Args& a, i64 b, i64 h, i64 first, i64 n,
                                           const i64* chosen) {
    constexpr int W = WIDE<typename M::C>;
    k.b = b, k.h = h, k.hk = h / (a.heads / a.key_heads);
    k.first = first, k.n = n, k.nv = round_up(n, M::TILED ? 2 * W : W) / W, k.ld = k.nv * W;
    k.low = a.keys, k.high = 0, k.inner = 0, k.outer = a.keys;
    k.consecutive = true;
    for (i64 v = 0; v < k.nv; ++v) k.lows[v] = a.keys, k.highs[v] = 0;
    for (i64 i = 0; i < k.ld; ++i) {
        i64 q = first + min(i, n - 1);
        if (chosen) q = chosen[q];
        i64 start = 0, end = a.keys;
        if (a.start.at) start = max(start, *(const i64*)at(a.start, b, h, q, 0));
        if (a.end.at) end = min(end, *(const i64*)at(a.end, b, h, q, 0));
        k.query[i] = q;
        if (i && i < n && q != k.query[i - 1] + 1) k.consecutive = false;
        k.start[i] = (Int<typename M::C>)min(start, a.keys), k.end[i] = (Int<typename M::C>)max(end, 0);
        if (start < end) k.lows[i / W] = min(k.lows[i / W], start), k.highs[i / W] = max(k.highs[i / W], end);
        k.inner = max(k.inner, start), k.outer = min(k.outer, end);
        k.poison[i] = 0;
    }
    for (i64 v = 0; v < k.nv; ++v) k.low = min(k.low, k.lows[v]), k.high = max(k.high, k.highs[v]);
    if (k.low > k.high) k.low = k.high = 0;
    for (i64 i = 0; a.seed && i < k.ld; ++i) k.noise[i] = row_hash(*a.seed, NOISE, b, h, k.query[i]);
    for (i64 i = 0; a.dropout > 0 && i < k.ld; ++i) k.drop[i] = row_hash(*a.dropout_seed, DROPPING, b, h, k.query[i]);
}

// Which lanes of a vector have the key in their interval.
template <class M> INLINE auto in_interval(const Block<M>& k, i64 i, i64 key) {
    using C = typename M::C;
    return (load_ints<C>(k.start + i) <= Int<C>(key)) & (load_ints<C>(k.end + i) > Int<C>(key));
}

// The random bits of one key for a vector of queries, the same as in `random.py`.
INLINE i32v draw(const uint32_t* rows, i64 key) {
    u32v x;
    __builtin_memcpy(&x, rows, BYTES);
    x ^= (uint32_t)key * GOLDEN;
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return (i32v)(x ^ (x >> 16));
}
// The same for the lanes of a vector of C, signed.
template <class C> INLINE IVec<C> draws(const uint32_t* rows, i64 key) {
    if constexpr (sizeof(C) == 4) {
        return draw(rows, key);
    } else {
        IVec<C> result;
        for (int i = 0; i < WIDE<C>; ++i) result[i] = (int32_t)hash32(rows[i] ^ ((uint32_t)key * GOLDEN));
        return result;
    }
}
// Dropout keeps a weight if its random bits, signed, are at least this.
INLINE i64 keep_threshold(const Args& a) { return (i64)__builtin_nearbyint(a.dropout * 4294967296.0) - 2147483648LL; }
template <class C> INLINE Vec<C> keep_factor(const uint32_t* rows, i64 key, i64 bound) {
    return draws<C>(rows, key) >= splat_ints<C>((Int<C>)bound) ? splat(C(1)) : Vec<C>{};
}
template <class C> INLINE Vec<C> drawn(const uint32_t* rows, i64 key) { return to_real<C>(draws<C>(rows, key) >> 9); }
template <class C> INLINE Vec<C> gumbel(const uint32_t* rows, i64 key) {
    return -lnv(-lnv(drawn<C>(rows, key) * C(0x1p-23) + C(0.5 + 0x1p-24)));
}
template <class C> INLINE Vec<C> normal(const uint32_t* rows, i64 key) {
    return erfinvv<C>(drawn<C>(rows, key) * C(0x1p-22) + C(0x1p-23)) * C(1.41421356237309504880);
}

INLINE bool is_hard(i64 kind) { return kind >= ARGMAX && kind <= STRAIGHT_THROUGH; }
// The normalizer's parameter for head `h`: alpha, temperature or standard deviation.
template <class C> INLINE double number_of(const Args& a, i64 h) {
    return a.numbers ? (double)((const C*)a.numbers)[h * a.number_stride] : a.number;
}
// One row of the statistics, one number per query.
template <class C> INLINE C* stat(const Args& a, i64 b, i64 h, Stat which) {
    return (C*)a.stats + ((b * a.heads + h) * STATS + which) * a.queries;
}
// ln(Σ + exp(sink)) from ln Σ = `log_sum`, all relative to the largest score; `weight` becomes the weight of the sink.
template <class C> INLINE double with_sink(double sink, double log_sum, C& weight) {
    double larger = sink > log_sum ? sink : log_sum;
    double total = larger + __builtin_log(__builtin_exp(sink - larger) + __builtin_exp(log_sum - larger));
    weight = C(__builtin_exp(sink - total));
    return total;
}
}  // namespace REGARD_LEVEL
