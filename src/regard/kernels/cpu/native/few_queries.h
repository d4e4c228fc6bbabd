// Products of a few queries with keys and values whose rows are read in place. Lanes are the width.
#pragma once
#include "load.h"

namespace REGARD_LEVEL {
constexpr i64 CHUNK = 512;         // keys between two updates of the maximum
constexpr i64 PREFETCH_KEYS = 64;  // distance in keys between the key in use and the key that is prefetched

// Rows are read in pieces of two vectors. The last piece ends with the row, so it may begin within the piece before;
// the numbers that both contain count once, because they are 0 in the last piece of the query. In a row that is shorter
// than two vectors (in float32), the second vector begins within the first.
template <class C> struct Pieces {
    static constexpr int W = WIDE<C>;
    i64 width, count, second;  // `second`: where the second vector of a piece begins
    explicit Pieces(i64 width) : width(width), count((width + 2 * W - 1) / (2 * W)), second(min(W, width - W)) {}
    i64 at(i64 piece) const { return min(piece * 2 * W, max(0, width - 2 * W)); }
    i64 numbers() const { return count * 2 * W; }  // of a row as it is stored
};
// Whether rows of this width can be read in pieces.
template <class C> static bool has_pieces(i64 dtype, i64 width) { return width >= (dtype == F32 ? 1 : 2) * WIDE<C>; }

// Where number i of a piece is stored. For bfloat16, the first vector has the numbers at even positions and the second
// those at odd ones, which takes one instruction each.
template <i64 DTYPE, class C> INLINE i64 place(i64 i) { return DTYPE == BF16 ? i / 2 + (i & 1) * WIDE<C> : i; }

#if defined(__F16C__) && defined(__AVX512F__)
INLINE f32v from_half(const char* from) {
    return (f32v)_mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256((const __m256i*)from));
}
INLINE void to_half(char* to, f32v x) {
    _mm256_storeu_si256((__m256i*)to, _mm512_maskz_cvtps_ph(0xFFFF, (__m512)x, 0));
}
#elif defined(__F16C__) && defined(__AVX2__)
INLINE f32v from_half(const char* from) { return (f32v)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from)); }
INLINE void to_half(char* to, f32v x) { _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph((__m256)x, 0)); }
#else
INLINE f32v from_half(const char* from) {
    f32v x;
    for (int i = 0; i < WIDE<float>; ++i) x[i] = half_to_float(((const uint16_t*)from)[i]);
    return x;
}
INLINE void to_half(char* to, f32v x) {
    for (int i = 0; i < WIDE<float>; ++i) ((uint16_t*)to)[i] = float_to_half(x[i]);
}
#endif
// The bits of x rounded as by `narrow`, in the upper half.
INLINE u32v rounded_to_bfloat16(f32v x) {
    u32v bits = (u32v)x;
    return x == x ? bits + 0x7FFFu + (bits >> 16 & 1u) : bits | 0x400000u;
}

// Loads a piece.
template <i64 DTYPE, class C> INLINE void fetch(const char* from, i64 second, Vec<C>& a, Vec<C>& b) {
    if constexpr (DTYPE == BF16) {
        u32v x;
        __builtin_memcpy(&x, from, BYTES);
        a = (Vec<C>)(x << 16), b = (Vec<C>)(x & 0xFFFF0000u);
    } else if constexpr (DTYPE == F16) {
        a = from_half(from), b = from_half(from + 2 * WIDE<C>);
    } else {
        a = load((const C*)from), b = load((const C*)from + second);
    }
}

// Reads a query; numbers of the last piece that the piece before has too become 0.
template <i64 DTYPE, class C> static void read_pieces(C* to, const char* from, const Pieces<C>& pieces) {
    constexpr int W = WIDE<C>;
    for (i64 c = 0; c < pieces.count; ++c) {
        Vec<C> x, y;
        fetch<DTYPE, C>(from + pieces.at(c) * bytes_of(DTYPE), pieces.second, x, y);
        store(to + c * 2 * W, x), store(to + c * 2 * W + W, y);
    }
    C* last = to + (pieces.count - 1) * 2 * W;
    for (i64 i = 0; i < pieces.numbers() - pieces.width; ++i)
        last[pieces.width < 2 * W ? W + i : place<DTYPE, C>(i)] = 0;
}
// Stores a piece, rounded to the dtype.
template <i64 DTYPE, class C> INLINE void put(char* to, i64 second, Vec<C> a, Vec<C> b) {
    if constexpr (DTYPE == BF16) {
        u32v even = rounded_to_bfloat16(a), odd = rounded_to_bfloat16(b), x = even >> 16 | (odd & 0xFFFF0000u);
        __builtin_memcpy(to, &x, BYTES);
    } else if constexpr (DTYPE == F16) {
        to_half(to, a), to_half(to + 2 * WIDE<C>, b);
    } else {
        store((C*)to, a), store((C*)to + second, b);
    }
}

// Writes `times` · a row of pieces. Returns 0, or NaN if a number is not finite.
template <i64 DTYPE, class C> static Vec<C> write_pieces(char* to, const C* from, C times, const Pieces<C>& pieces) {
    constexpr int W = WIDE<C>;
    Vec<C> nan = {};
    for (i64 c = 0; c < pieces.count; ++c) {
        Vec<C> x = load(from + c * 2 * W) * times, y = load(from + c * 2 * W + W) * times;
        nan += (x - x) + (y - y);
        put<DTYPE, C>(to + pieces.at(c) * bytes_of(DTYPE), pieces.second, x, y);
    }
    return nan;
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

// 0, 1, 2, …
template <class C, int... I> INLINE IVec<C> numbers(Places<I...>) { return IVec<C>{I...}; }
template <class C> INLINE IVec<C> lane_numbers() { return numbers<C>(typename CountTo<WIDE<C>>::All{}); }

template <class C> INLINE C largest_lane(Vec<C> x) {
    return over_lanes<C>(x, [](Vec<C> a, Vec<C> b) { return maxv(a, b); })[0];
}

// Rows PREFETCH_KEYS further on are prefetched if `ahead`, which gains something only if they come from memory.

// Scores s[r][j] of R queries for K keys from `j` on, so that their sums are one vector. Of keys from `n` on, there is
// none: the last one takes their places.
template <i64 DTYPE, class C, int R, int K>
INLINE void dot_some(const char* key, i64 row, i64 j, i64 n, const Pieces<C>& pieces, bool ahead, const C* q, C* s) {
    constexpr int W = WIDE<C>;
    const i64 size = bytes_of(DTYPE), ld = pieces.numbers();
    Vec<C> sum[W] = {};
    const char *at_key[K], *next = key + j * row, *last = key + (n - 1) * row;
    for (int k = 0; k < K; ++k, next += row) {
        at_key[k] = next < last ? next : last;
        if (ahead) prefetch(at_key[k] + PREFETCH_KEYS * row, pieces.width * size);
    }
    for (i64 c = 0; c < pieces.count; ++c) {
        const i64 e = pieces.at(c) * size;
        Vec<C> x[R], y[R];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const C* piece = q + r * ld + c * 2 * W;
            x[r] = load(piece), y[r] = load(piece + W);
        }
#pragma GCC unroll 16
        for (int k = 0; k < K; ++k) {
            Vec<C> a, b;
            fetch<DTYPE, C>(at_key[k] + e, pieces.second, a, b);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) sum[r * K + k] = fma(a, x[r], fma(b, y[r], sum[r * K + k]));
        }
    }
    if constexpr (K == 1) {  // rounded as with several keys, so that equal keys have equal weights
        for (int r = 0; r < R; ++r) s[r * CHUNK + j] = sum_lanes<C>(sum[r]);
        return;
    }
    alignas(64) C total[W];
    store(total, folded<C>(sum));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) __builtin_memcpy(s + r * CHUNK + j, total + r * K, K * sizeof(C));
}
// Scores s[r][j] of R queries for `n` keys from `j` on: K at a time, then half as many, and so on.
template <i64 DTYPE, class C, int R, int K = WIDE<C> / R>
static void dot_keys(const char* key, i64 row, i64 n, const Pieces<C>& pieces, bool ahead, const C* q, C* s,
                     i64 j = 0) {
    for (; n - j > K / 2; j += K) dot_some<DTYPE, C, R, K>(key, row, j, n, pieces, ahead, q, s);
    if constexpr (K > 1)
        if (j < n) dot_keys<DTYPE, C, R, K / 2>(key, row, n, pieces, ahead, q, s, j);
}

// o[r][e] = f[r] · o[r][e] + Σ_j p[r][j] v[j][e] for N pieces from piece `c`; without `f`, o is overwritten.
template <i64 DTYPE, class C, int R, int N>
static void add_pieces(const char* value, i64 row, i64 n, const Pieces<C>& pieces, bool ahead, i64 c, const C* p,
                       const C* f, C* o) {
    constexpr int W = WIDE<C>;
    const i64 size = bytes_of(DTYPE), ld = pieces.numbers();
    Vec<C> sum[R][2 * N];
    const char* from[N];
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) from[i] = value + pieces.at(c + i) * size;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < 2 * N; ++v) sum[r][v] = f ? load(o + r * ld + (2 * c + v) * W) * f[r] : Vec<C>{};
    for (i64 j = 0; j < n; ++j) {
        if (ahead && c == 0) prefetch(value + (j + PREFETCH_KEYS) * row, pieces.width * size);
        Vec<C> x[2 * N];
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) fetch<DTYPE, C>(from[i] + j * row, pieces.second, x[2 * i], x[2 * i + 1]);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            Vec<C> w = splat(p[r * CHUNK + j]);
#pragma GCC unroll 8
            for (int v = 0; v < 2 * N; ++v) sum[r][v] = fma(w, x[v], sum[r][v]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < 2 * N; ++v) store(o + r * ld + (2 * c + v) * W, sum[r][v]);
}
// The same for all pieces, with at most half of the registers (16; 32 with AVX-512) for sums.
template <i64 DTYPE, class C, int R>
static void add_rows(const char* value, i64 row, i64 n, const Pieces<C>& pieces, bool ahead, const C* p, const C* f,
                     C* o) {
    constexpr int N = R == 4 ? BYTES / 32 + (BYTES < 32) : R == 2 ? (BYTES == 64 ? 4 : 2) : 4;
    i64 c = 0;
    for (; c + N <= pieces.count; c += N) add_pieces<DTYPE, C, R, N>(value, row, n, pieces, ahead, c, p, f, o);
    if constexpr (N > 2)
        if (c + 2 <= pieces.count) add_pieces<DTYPE, C, R, 2>(value, row, n, pieces, ahead, c, p, f, o), c += 2;
    for (; c < pieces.count; ++c) add_pieces<DTYPE, C, R, 1>(value, row, n, pieces, ahead, c, p, f, o);
}
}  // namespace REGARD_LEVEL
