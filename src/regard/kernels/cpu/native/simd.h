// Vectors, with the compiler's vector types: one source for all instruction sets, and intrinsics only where the
// compiler does not generate the instruction.
#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include "args.h"

namespace REGARD_LEVEL {
#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

typedef float f32v __attribute__((vector_size(BYTES)));
typedef double f64v __attribute__((vector_size(BYTES)));
typedef int32_t i32v __attribute__((vector_size(BYTES)));
typedef int64_t i64v __attribute__((vector_size(BYTES)));
typedef uint32_t u32v __attribute__((vector_size(BYTES)));
typedef uint64_t u64v __attribute__((vector_size(BYTES)));

template <class C> struct Lanes;
template <> struct Lanes<float> {
    using V = f32v;
    using I = i32v;
    using Int = int32_t;
    static constexpr int W = BYTES / 4;
};
template <> struct Lanes<double> {
    using V = f64v;
    using I = i64v;
    using Int = int64_t;
    static constexpr int W = BYTES / 8;
};
template <> struct Lanes<uint32_t> {
    using V = u32v;
    using I = i32v;
    using Int = int32_t;
    static constexpr int W = BYTES / 4;
};
template <class C> using Vec = typename Lanes<C>::V;
template <class C> using IVec = typename Lanes<C>::I;
template <class C> using Int = typename Lanes<C>::Int;
template <class C> constexpr int WIDE = Lanes<C>::W;

#define INLINE static inline __attribute__((always_inline))

template <class C> INLINE Vec<C> load(const C* at) {
    Vec<C> v;
    __builtin_memcpy(&v, at, BYTES);
    return v;
}
template <class C> INLINE void store(C* at, Vec<C> v) { __builtin_memcpy(at, &v, BYTES); }
template <class C> INLINE IVec<C> load_ints(const Int<C>* at) {
    IVec<C> v;
    __builtin_memcpy(&v, at, BYTES);
    return v;
}
// Loads the first `n` lanes, without reading beyond them; the others are 0.
template <class C> INLINE Vec<C> load_part(const C* at, i64 n) {
    Vec<C> v = {};
    if (n >= WIDE<C>) return load(at);
    __builtin_memcpy(&v, at, n * sizeof(C));
    return v;
}
template <class C> INLINE void store_part(C* at, Vec<C> v, i64 n) {
    if (n >= WIDE<C>) return store(at, v);  // a copy of a variable length takes ten times as long
    __builtin_memcpy(at, &v, n * sizeof(C));
}
// x − 0 is x also for x = −0, so the compiler removes the subtraction; it cannot remove x + 0.
template <class C> INLINE Vec<C> splat(C x) { return x - Vec<C>{}; }
template <class C> INLINE IVec<C> splat_ints(Int<C> x) { return IVec<C>{} + x; }
template <class C> INLINE IVec<C> bits_of(Vec<C> v) { return (IVec<C>)v; }
template <class C> INLINE Vec<C> to_real(IVec<C> v) { return __builtin_convertvector(v, Vec<C>); }

// The larger of two numbers; `b` if either is NaN. A `maskz` intrinsic with a full mask is the same instruction as the
// intrinsic without a mask, whose header causes warnings in GCC 12.
INLINE f32v maxv(f32v a, f32v b) {
#if defined(__AVX512F__)
    return (f32v)_mm512_maskz_max_ps(0xFFFF, (__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (f32v)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return a > b ? a : b;
#endif
}
INLINE f64v maxv(f64v a, f64v b) { return a > b ? a : b; }

// a · b + c, with one rounding if the instruction set has it. The compiler itself must not fuse (-ffp-contract=off):
// the correction factor of an unchanged maximum would not be exactly 1.
INLINE f32v fma(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
    return (f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
INLINE f64v fma(f64v a, f64v b, f64v c) {
#if defined(__AVX512F__)
    return (f64v)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
    return (f64v)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    return (f64v)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

// Whether any lane of a comparison is true.
template <class I> INLINE bool any(I v) {
    constexpr int SIZE = sizeof(v[0]);
#if defined(__AVX512F__)
    if constexpr (SIZE == 4) return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)v, (__m256i)v);
#endif
    int64_t result = 0;
    for (int i = 0; i < BYTES / SIZE; ++i) result |= v[i];
    return result != 0;
}

// Shuffles two vectors: lane i of the result is lane `P::at(i)` of `a` followed by `b`. Clang and GCC have different
// builtins for it.
template <int... I> struct Places {};
template <int N, int... I> struct CountTo : CountTo<N - 1, N - 1, I...> {};
template <int... I> struct CountTo<0, I...> {
    using All = Places<I...>;
};
template <class C, class P, int... I> INLINE Vec<C> picked(Vec<C> a, Vec<C> b, Places<I...>) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, P::at(I)...);
#else
    return __builtin_shuffle(a, b, IVec<C>{P::at(I)...});
#endif
}
template <class C, class P> INLINE Vec<C> pick(Vec<C> a, Vec<C> b) {
    return picked<C, P>(a, b, typename CountTo<WIDE<C>>::All{});
}

template <int STEP, int W> struct Rotated {
    static constexpr int at(int i) { return (i + STEP) % W; }
};
// f of neighbouring lanes, of two such results, and so on, log₂ W steps, in lane 0. `folded` adds in the same order.
template <class C, int STEP = 1, class F> INLINE Vec<C> over_lanes(Vec<C> x, F f) {
    if constexpr (STEP == WIDE<C>) {
        return x;
    } else {
        return over_lanes<C, 2 * STEP>(f(x, pick<C, Rotated<STEP, WIDE<C>>>(x, x)), f);
    }
}
template <class C> INLINE C sum_lanes(Vec<C> v) {
    return over_lanes<C>(v, [](Vec<C> a, Vec<C> b) { return a + b; })[0];
}

template <int STEP, int W> struct LowOfBoth {
    static constexpr int at(int i) { return (i & STEP) ? W + i - STEP : i; }
};
template <int STEP, int W> struct HighOfBoth {
    static constexpr int at(int i) { return (i & STEP) ? W + i : i + STEP; }
};
// Transposes W rows of W lanes in registers: log₂ W rounds that exchange blocks of 1, 2, 4, … lanes.
template <int STEP, class C> INLINE void exchange(Vec<C>* row) {
    constexpr int W = WIDE<C>;
#pragma GCC unroll 16
    for (int r = 0; r < W; ++r) {
        if (r & STEP) continue;
        Vec<C> a = row[r], b = row[r + STEP];
        row[r] = pick<C, LowOfBoth<STEP, W>>(a, b);
        row[r + STEP] = pick<C, HighOfBoth<STEP, W>>(a, b);
    }
}
template <class C> INLINE void transpose_registers(Vec<C>* row) {
    constexpr int W = WIDE<C>;
    exchange<1, C>(row);
    if constexpr (W > 2) exchange<2, C>(row);
    if constexpr (W > 4) exchange<4, C>(row);
    if constexpr (W > 8) exchange<8, C>(row);
}

INLINE i64 min(i64 a, i64 b) { return a < b ? a : b; }
INLINE i64 max(i64 a, i64 b) { return a > b ? a : b; }
INLINE i64 round_up(i64 n, i64 to) { return (n + to - 1) / to * to; }
}  // namespace REGARD_LEVEL
