// Decoding: few queries and many keys. The time is that of reading keys and values, so all query heads of a key head
// are processed together, and lanes are the width. Keys are split over the threads (split-K); each part has a separate
// softmax, and the parts are combined at the end.
#pragma once
#include "block.h"
#include "parallel.h"

namespace REGARD_LEVEL {
constexpr i64 ROWS_PER_STEP = 4;  // queries that use a key while it is in registers
constexpr i64 MAX_ROWS = 16;
constexpr i64 CHUNK = 512;         // keys between two updates of the maximum
constexpr i64 PREFETCH_KEYS = 64;  // distance in keys between the key in use and the key that is prefetched

// Loads 2 W numbers into two vectors. For bfloat16, the first has the numbers at even positions and the second those at
// odd ones, which takes one instruction each; queries and outputs have the same order.
template <i64 DTYPE, class C> INLINE void fetch(const char* from, Vec<C>& a, Vec<C>& b) {
    if constexpr (DTYPE == BF16) {
        u32v x;
        __builtin_memcpy(&x, from, BYTES);
        a = (Vec<C>)(x << 16), b = (Vec<C>)(x & 0xFFFF0000u);
    } else if constexpr (DTYPE == F16) {
        C wide[2 * WIDE<C>];
        for (int i = 0; i < 2 * WIDE<C>; ++i) wide[i] = (C)half_to_float(((const uint16_t*)from)[i]);
        a = load(wide), b = load(wide + WIDE<C>);
    } else {
        a = load((const C*)from), b = load((const C*)from + WIDE<C>);
    }
}

template <int STEP, int W> struct Crossed {
    static constexpr int at(int i) { return (i & STEP) ? W + (i ^ STEP) : i; }
};
template <int STEP, int W> struct Straight {
    static constexpr int at(int i) { return (i & STEP) ? W + i : (i ^ STEP); }
};
// The sums of the lanes of W vectors, as one vector: log₂ W rounds (`fold`).
template <int STEP, class C> INLINE void fold(Vec<C>* row) {
    constexpr int W = WIDE<C>;
#pragma GCC unroll 16
    for (int r = 0; r < W; r += 2 * STEP)
        row[r] = pick<C, Crossed<STEP, W>>(row[r], row[r + STEP]) + pick<C, Straight<STEP, W>>(row[r], row[r + STEP]);
}
template <class C> INLINE Vec<C> folded(Vec<C>* row) {
    constexpr int W = WIDE<C>;
    fold<1, C>(row);
    if constexpr (W > 2) fold<2, C>(row);
    if constexpr (W > 4) fold<4, C>(row);
    if constexpr (W > 8) fold<8, C>(row);
    return row[0];
}

// Scores s[r][j] of R queries for `n` keys, up to W / R keys at a time, so that their sums are one vector.
template <i64 DTYPE, class C, int R> static void dot_keys(const char* key, i64 row, i64 n, i64 width, const C* q,
                                                          C* s) {
    constexpr int W = WIDE<C>, K = W / R < 4 ? W / R : 4;
    const i64 size = bytes_of(DTYPE);
    for (i64 j = 0; j < n; j += K) {
        Vec<C> sum[W] = {};
        const char* at_key[K];
        for (int k = 0; k < K; ++k)
            at_key[k] = key + min(j + k, n - 1) * row, prefetch(at_key[k] + PREFETCH_KEYS * row, width * size);
        for (i64 e = 0; e < width; e += 2 * W) {
            Vec<C> x[R], y[R];
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) x[r] = load(q + r * width + e), y[r] = load(q + r * width + e + W);
#pragma GCC unroll 4
            for (int k = 0; k < K; ++k) {
                Vec<C> a, b;
                fetch<DTYPE, C>(at_key[k] + e * size, a, b);
#pragma GCC unroll 4
                for (int r = 0; r < R; ++r) sum[k * R + r] = fma(a, x[r], fma(b, y[r], sum[k * R + r]));
            }
        }
        Vec<C> total = folded<C>(sum);
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
            for (int r = 0; r < R; ++r)
                if (j + k < n) s[r * CHUNK + j + k] = total[k * R + r];
    }
}

// o[r][e] = f[r] · o[r][e] + Σ_j p[r][j] v[j][e]
template <i64 DTYPE, class C, int R> static void accumulate(const char* value, i64 row, i64 n, i64 width, const C* p,
                                                            const C* f, C* o) {
    constexpr int W = WIDE<C>;
    const i64 size = bytes_of(DTYPE);
    for (i64 e = 0; e < width; e += 4 * W) {
        bool second = e + 2 * W < width;
        Vec<C> sum[R][4];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) sum[r][v] = v < 2 || second ? load(o + r * width + e + v * W) * f[r] : Vec<C>{};
        for (i64 j = 0; j < n; ++j) {
            if (e == 0) prefetch(value + (j + PREFETCH_KEYS) * row, width * size);
            Vec<C> x[4] = {};
            fetch<DTYPE, C>(value + j * row + e * size, x[0], x[1]);
            if (second) fetch<DTYPE, C>(value + j * row + (e + 2 * W) * size, x[2], x[3]);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
                Vec<C> w = splat(p[r * CHUNK + j]);
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v) sum[r][v] = fma(w, x[v], sum[r][v]);
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v)
                if (v < 2 || second) store(o + r * width + e + v * W, sum[r][v]);
    }
}

template <i64 DTYPE, class C> struct Decode {
    static constexpr int W = WIDE<C>;
    const Args& a;
    i64 rows, splits, keys;  // query heads × queries of one key head; number of parts of the keys; keys of a part
    C* parts;                // (batch, key head, split, row): output, maximum, sum
    i64 part() const { return a.value_width + 2; }

    // Row `r` of key head `hk` is query r % Lq of head hk · group + r / Lq.
    i64 head(i64 hk, i64 r) const { return hk * (a.heads / a.key_heads) + r / a.queries; }

    template <int R> static void step(const Args& a, i64 b, i64 hk, i64 j0, i64 n, const C* q, const i64* start,
                                      const i64* end, C* s, C* o, C* top, C* total) {
        const C exponent = C(a.scale * 1.44269504088896340736), infinity = C(__builtin_inf());
        dot_keys<DTYPE, C, R>(at(a.key, b, hk, j0, 0), a.key.stride[2] * bytes_of(DTYPE), n, a.width, q, s);
        C factor[R];
        for (int r = 0; r < R; ++r) {
            C* row = s + r * CHUNK;
            const i64 wide = round_up(n, W);
            for (i64 j = 0; j < n; ++j) row[j] = j0 + j >= start[r] && j0 + j < end[r] ? row[j] : -infinity;
            for (i64 j = n; j < wide; ++j) row[j] = -infinity;
            Vec<C> lane_max = splat(-infinity), nan = {};
            for (i64 j = 0; j < wide; j += W) {
                Vec<C> x = load(row + j);
                lane_max = maxv(x, lane_max), nan = x != x ? x : nan;
            }
            C now = top[r];
            for (int l = 0; l < W; ++l) now = lane_max[l] > now ? lane_max[l] : now;
            C base = now == -infinity ? C(0) : now;
            Vec<C> old = splat(top[r] - base);
            factor[r] = exp2v(old * exponent)[0];
            Vec<C> sum = nan;
            for (i64 j = 0; j < wide; j += W) {
                Vec<C> p = exp2v((load(row + j) - base) * exponent);
                sum += p;
                store(row + j, p);
            }
            total[r] = total[r] * factor[r] + sum_lanes<C>(sum);
            top[r] = now;
        }
        accumulate<DTYPE, C, R>(at(a.value, b, hk, j0, 0), a.value.stride[2] * bytes_of(DTYPE), n, a.value_width, s,
                                factor, o);
    }

    static void run(void* context, i64 task, char* memory) {
        const Decode& d = *(const Decode*)context;
        const Args& a = d.a;
        i64 split = task % d.splits, b = task / d.splits / a.key_heads, hk = task / d.splits % a.key_heads;
        Arena arena{memory, 0, 0};
        C *q = arena.take<C>(MAX_ROWS * a.width), *o = arena.take<C>(MAX_ROWS * a.value_width),
          *s = arena.take<C>(ROWS_PER_STEP * CHUNK);
        C top[MAX_ROWS], total[MAX_ROWS];
        i64 start[MAX_ROWS], end[MAX_ROWS], low = a.keys, high = 0;
        for (i64 r = 0; r < d.rows; ++r) {
            i64 h = d.head(hk, r), i = r % a.queries;
            const char* from = at(a.query, b, h, i, 0);
            C* to = q + r * a.width;
            for (i64 e = 0; e < a.width; e += 2 * W) {
                Vec<C> x, y;
                fetch<DTYPE, C>(from + e * bytes_of(DTYPE), x, y);
                store(to + e, x), store(to + e + W, y);
            }
            start[r] = a.start.at ? max(0, *(const i64*)at(a.start, b, h, i, 0)) : 0;
            end[r] = a.end.at ? min(a.keys, *(const i64*)at(a.end, b, h, i, 0)) : a.keys;
            if (start[r] < end[r]) low = min(low, start[r]), high = max(high, end[r]);
            top[r] = -C(__builtin_inf()), total[r] = 0;
        }
        __builtin_memset(o, 0, d.rows * a.value_width * sizeof(C));
        i64 first = max(low - low % CHUNK, split * d.keys), last = min(high, (split + 1) * d.keys);
        for (i64 j0 = first; j0 < last; j0 += CHUNK) {
            i64 n = min(CHUNK, last - j0);
            for (i64 r = 0; r < d.rows; r += ROWS_PER_STEP) {
                auto* step_rows = d.rows - r >= 4 ? step<4> : d.rows - r >= 2 ? step<2> : step<1>;
                i64 count = d.rows - r >= 4 ? 4 : d.rows - r >= 2 ? 2 : 1;
                step_rows(a, b, hk, j0, n, q + r * a.width, start + r, end + r, s, o + r * a.value_width, top + r,
                          total + r);
                if (count < 4 && d.rows - r > count) r -= ROWS_PER_STEP - count;
            }
        }
        C* to = d.parts + task * d.rows * d.part();
        for (i64 r = 0; r < d.rows; ++r, to += d.part()) {
            __builtin_memcpy(to, o + r * a.value_width, a.value_width * sizeof(C));
            to[a.value_width] = top[r], to[a.value_width + 1] = total[r];
        }
    }

    // Combines the parts of one row.
    static void join(void* context, i64 task, char* memory) {
        const Decode& d = *(const Decode*)context;
        const Args& a = d.a;
        i64 r = task % d.rows, b = task / d.rows / a.key_heads, hk = task / d.rows % a.key_heads, h = d.head(hk, r),
            i = r % a.queries;
        const C* first = d.parts + ((b * a.key_heads + hk) * d.splits * d.rows + r) * d.part();
        const double infinity = __builtin_inf();
        C top = -C(infinity);
        double total = 0;
        C* o = (C*)memory;
        __builtin_memset(o, 0, a.value_width * sizeof(C));
        for (i64 s = 0; s < d.splits; ++s) {
            C split_top = first[s * d.rows * d.part() + a.value_width];
            top = split_top > top ? split_top : top;
        }
        for (i64 s = 0; s < d.splits; ++s) {
            const C* from = first + s * d.rows * d.part();
            if (from[a.value_width + 1] == 0) continue;
            double f =
                __builtin_exp(((double)from[a.value_width] - (double)(top == -C(infinity) ? C(0) : top)) * a.scale);
            total += f * (double)from[a.value_width + 1];
            for (i64 e = 0; e < a.value_width; ++e) o[e] += C(f) * from[e];
        }
        bool none = total == 0;
        double largest = (double)top * a.scale, log_sum = __builtin_log(total);
        C lse = none ? C(-infinity) : C(largest + log_sum), own = 0;
        if (a.sink && !none) log_sum = with_sink((double)((const C*)a.sink)[h] - largest, log_sum, own);
        C times = none ? C(0) : C(a.sink ? __builtin_exp(-log_sum) : 1 / total);
        for (i64 e = 0; e < a.value_width; ++e) {
            i64 within = e % (2 * W), place = DTYPE == BF16 ? e - within + within / 2 + (within & 1) * W : e;
            write<C>(const_cast<char*>(at(a.output, b, h, i, e)), a.output.dtype, none ? C(0) : o[place] * times);
        }
        stat<C>(a, b, h, TOP)[i] = top, stat<C>(a, b, h, LSE)[i] = lse, stat<C>(a, b, h, REST)[i] = C(log_sum);
        stat<C>(a, b, h, OWN)[i] = own, stat<C>(a, b, h, POISON)[i] = 0;
    }

    static void run_call(const Args& a) {
        i64 rows = a.heads / a.key_heads * a.queries, heads = a.batch * a.key_heads;
        i64 splits = max(1, min((a.keys + 511) / 512, (4 * a.threads + heads - 1) / heads));
        i64 keys = round_up((a.keys + splits - 1) / splits, CHUNK);
        Buffer buffer(heads * splits * rows * (a.value_width + 2) * sizeof(C));
        Decode d{.a = a, .rows = rows, .splits = splits, .keys = keys, .parts = (C*)buffer.at};
        size_t bytes = (MAX_ROWS * (a.width + a.value_width) + ROWS_PER_STEP * CHUNK + 64) * sizeof(C);
        parallel(heads * splits, a.threads, run, &d, bytes);
        parallel(heads * rows, heads * rows * a.value_width > 65536 ? a.threads : 1, join, &d,
                 a.value_width * sizeof(C) + 64);
    }
};

// Whether this file can run the call.
template <class C> static bool is_few_queries(const Args& a) {
    i64 rows = a.heads / a.key_heads * a.queries, chunk = 2 * WIDE<C>;
    bool plain = a.score == DOT && a.normalizer == SOFTMAX && a.scale > 0 && !a.softcap && !a.bias.at && !a.relative &&
                 !a.visible.at && !a.layout.at && !a.bad && !a.extra && !(a.dropout > 0);
    return plain && rows <= MAX_ROWS && a.keys >= 128 && a.width % chunk == 0 && a.value_width % chunk == 0 &&
           a.query.stride[3] == 1 && a.key.stride[3] == 1 && a.value.stride[3] == 1;
}

static bool decodes(const Args& a) {
    return a.dtype != F64 && is_few_queries<float>(a);  // as in lanes_are_width
}

static bool decode(const Args& a) {
    if (!decodes(a)) return false;
    if (a.dtype == F32) Decode<F32, float>::run_call(a);
    if (a.dtype == BF16) Decode<BF16, float>::run_call(a);
    if (a.dtype == F16) Decode<F16, float>::run_call(a);
    return true;
}
}  // namespace REGARD_LEVEL
