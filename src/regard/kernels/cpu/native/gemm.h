// Matrix product C[m][n] (+)= Σ_k A(m, k) · B[k][n]. A can have any strides, because its numbers are broadcast one by
// one; the rows of B and C are contiguous vectors. The microkernel holds MR rows of NV vectors of C in registers: 6 × 4
// = 24 accumulators with 512 bits.
#pragma once
#include "simd.h"

namespace REGARD_LEVEL {
// Types of the computation: `C` of sums, `A` of operands, each of which has PAIR numbers of the inner dimension.
struct Float {
    using C = float;
    using A = float;
    static constexpr int PAIR = 1;
    static constexpr bool TILED = false;
    INLINE f32v fmadd(f32v c, f32v a, f32v b) { return fma(a, b, c); }
};
struct Double {
    using C = double;
    using A = double;
    static constexpr int PAIR = 1;
    static constexpr bool TILED = false;
    INLINE f64v fmadd(f64v c, f64v a, f64v b) { return fma(a, b, c); }
};
#if defined(__AVX512BF16__)
// Two bfloat16 in 32 bits, whose products are added to a float32. TILED: the processor has AMX, whose instructions
// multiply tiles of sixteen rows; A must then be contiguous along the inner dimension and padded to a multiple of 16
// pairs.
struct Brain {
    using C = float;
    using A = uint32_t;
    static constexpr int PAIR = 2;
#if defined(__AMX_BF16__)
    static constexpr bool TILED = true;
#else
    static constexpr bool TILED = false;
#endif
    INLINE f32v fmadd(f32v c, u32v a, u32v b) { return (f32v)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b); }
};
#endif

#if defined(__AVX512F__)
constexpr int MR = 6, NV = 4;
#elif defined(__AVX2__)
constexpr int MR = 6, NV = 2;
#elif defined(__aarch64__)
constexpr int MR = 6, NV = 4;
#else
constexpr int MR = 6, NV = 2;
#endif

template <class M> constexpr int LANES = NV * WIDE<typename M::C>;  // maximum number of queries of a block

// A number in all lanes. The empty asm keeps the compiler from using it as a memory operand, which would be loaded
// again for each product.
template <class A> INLINE Vec<A> broadcast(A x) {
    Vec<A> v = splat(x);
#if defined(__x86_64__) && (defined(__AVX2__) || defined(__AVX512F__))
    asm volatile("" : "+v"(v));
#endif
    return v;
}

template <class M, int R, int N, bool ADD>
static void micro(i64 depth, const typename M::A* a, i64 am, i64 ak, const typename M::A* b, i64 ldb, typename M::C* c,
                  i64 ldc, const typename M::C* factor) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    Vec<C> sum[R][N];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) {
            if constexpr (ADD) {
                sum[r][n] = load(c + r * ldc + n * W);
            } else {
                sum[r][n] = Vec<C>{};
            }
        }
    if constexpr (ADD) {
        if (factor)
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) {
                Vec<C> f = load(factor + n * W);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) sum[r][n] *= f;
            }
    }
    for (i64 k = 0; k < depth; ++k) {
        Vec<typename M::A> row[N];
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) row[n] = load(b + n * W);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            auto one = broadcast(a[r * am]);
#pragma GCC unroll 8
            for (int n = 0; n < N; ++n) sum[r][n] = M::fmadd(sum[r][n], one, row[n]);
        }
        a += ak;
        b += ldb;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) store(c + r * ldc + n * W, sum[r][n]);
}

template <class M, int N, bool ADD>
static void columns(i64 m, i64 depth, const typename M::A* a, i64 am, i64 ak, const typename M::A* b, i64 ldb,
                    typename M::C* c, i64 ldc, const typename M::C* factor) {
    constexpr int R = 2 * N <= NV ? 8 : MR;  // more rows if they are short, for enough independent sums
    for (; m >= R; m -= R, a += R * am, c += R * ldc) micro<M, R, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
    switch (m) {
        case 7: return micro<M, 7, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 6: return micro<M, 6, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 5: return micro<M, 5, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 4: return micro<M, 4, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 3: return micro<M, 3, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 2: return micro<M, 2, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 1: return micro<M, 1, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        default: return;
    }
}

#if defined(__AMX_BF16__)
// AMX tiles: 0 to 3 are 2 × 2 tiles of C, 4 and 5 rows of A, 6 and 7 columns of B. The last rows may not fill a tile.
static thread_local int configured = 0;
static void configure(int first, int second) {
    if (configured == first * 32 + second) return;
    alignas(64) unsigned char config[64] = {1};
    const int rows[8] = {first, first, second, second, first, second, 16, 16};
    for (int i = 0; i < 8; ++i) config[16 + 2 * i] = rows[i] ? 64 : 0, config[48 + i] = (unsigned char)rows[i];
    asm volatile("" ::"r"(config) : "memory");
    _tile_loadconfig(config);
    configured = first * 32 + second;
}
// Releases the tiles at the end of each task, because the operating system must save them at every context switch.
struct TilesInUse {
    ~TilesInUse() {
        if (configured) _tile_release();
        configured = 0;
    }
};

template <bool ADD, bool LOW, bool RIGHT>
static void square(i64 depth, const uint32_t* a, i64 am, const uint32_t* b, i64 ldb, float* c, i64 ldc) {
    if constexpr (ADD) {
        _tile_loadd(0, c, ldc * 4);
        if constexpr (RIGHT) _tile_loadd(1, c + 16, ldc * 4);
        if constexpr (LOW) _tile_loadd(2, c + 16 * ldc, ldc * 4);
        if constexpr (LOW && RIGHT) _tile_loadd(3, c + 16 * ldc + 16, ldc * 4);
    } else {
        _tile_zero(0);
        if constexpr (RIGHT) _tile_zero(1);
        if constexpr (LOW) _tile_zero(2);
        if constexpr (LOW && RIGHT) _tile_zero(3);
    }
    for (i64 k = 0; k < depth; k += 16) {
        _tile_loadd(4, a + k, am * 4);
        _tile_loadd(6, b + k * ldb, ldb * 4);
        _tile_dpbf16ps(0, 4, 6);
        if constexpr (RIGHT) {
            _tile_loadd(7, b + k * ldb + 16, ldb * 4);
            _tile_dpbf16ps(1, 4, 7);
        }
        if constexpr (LOW) {
            _tile_loadd(5, a + 16 * am + k, am * 4);
            _tile_dpbf16ps(2, 5, 6);
            if constexpr (RIGHT) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, ldc * 4);
    if constexpr (RIGHT) _tile_stored(1, c + 16, ldc * 4);
    if constexpr (LOW) _tile_stored(2, c + 16 * ldc, ldc * 4);
    if constexpr (LOW && RIGHT) _tile_stored(3, c + 16 * ldc + 16, ldc * 4);
}

template <bool ADD>
static void tiled(i64 m, i64 n, i64 depth, const uint32_t* a, i64 am, const uint32_t* b, i64 ldb, float* c, i64 ldc,
                  const float* factor) {
    for (i64 i = 0; ADD && factor && i < m; ++i)
        for (i64 j = 0; j < n * 16; j += 16) store(c + i * ldc + j, load(c + i * ldc + j) * load(factor + j));
    for (i64 i = 0; i < m; i += 32) {
        int first = (int)min(16, m - i), second = (int)(m - i > 16 ? min(16, m - i - 16) : 0);
        configure(first, second);
        const uint32_t* rows = a + i * am;
        float* to = c + i * ldc;
        i64 j = 0;
        for (; j + 1 < n; j += 2) {
            if (second) {
                square<ADD, true, true>(depth, rows, am, b + j * 16, ldb, to + j * 16, ldc);
            } else {
                square<ADD, false, true>(depth, rows, am, b + j * 16, ldb, to + j * 16, ldc);
            }
        }
        if (j < n && second) square<ADD, true, false>(depth, rows, am, b + j * 16, ldb, to + j * 16, ldc);
        if (j < n && !second) square<ADD, false, false>(depth, rows, am, b + j * 16, ldb, to + j * 16, ldc);
    }
}
#else
struct TilesInUse {
    ~TilesInUse() {}
};
#endif

// `n` is the number of vectors in a row; `factor`, one number per column, multiplies C before the product is added.
template <class M, bool ADD>
static void gemm(i64 m, i64 n, i64 depth, const typename M::A* a, i64 am, i64 ak, const typename M::A* b, i64 ldb,
                 typename M::C* c, i64 ldc, const typename M::C* factor = nullptr) {
#if defined(__AMX_BF16__)
    if constexpr (M::TILED) {
        tiled<ADD>(m, n, depth, a, am, b, ldb, c, ldc, factor);
        return;
    }
#endif
    constexpr int W = WIDE<typename M::C>;
    for (; n >= NV; n -= NV, b += NV * W, c += NV * W) columns<M, NV, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
    if constexpr (NV > 3) {
        if (n == 3) columns<M, 3, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
        if (n == 2) columns<M, 2, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
    }
    if (n == 1) columns<M, 1, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
}

// The length of an inner dimension of `n` numbers as stored: in pairs for bfloat16, padded to full tiles for AMX.
template <class M> INLINE i64 units(i64 n) {
    i64 pairs = (n + M::PAIR - 1) / M::PAIR;
    return M::TILED ? round_up(pairs, 16) : pairs;
}
}  // namespace REGARD_LEVEL
