// C[m][n] (+)= Σ_k A(m, k) · B[k][n]: A is read one number at a time and broadcast, at any strides; the rows of B and C are
// vectors. MR rows of NV vectors are held in registers, 6 × 4 = 24 accumulators with 512 bits.
#pragma once

// What is computed in: `C` holds sums, `A` is one operand of a product, with PAIR numbers of the inner dimension in it.
struct Float {
    using C = float;
    using A = float;
    static constexpr int PAIR = 1;
    INLINE f32v fmadd(f32v c, f32v a, f32v b) { return fma(a, b, c); }
};
struct Double {
    using C = double;
    using A = double;
    static constexpr int PAIR = 1;
    INLINE f64v fmadd(f64v c, f64v a, f64v b) { return fma(a, b, c); }
};
#if defined(__AVX512BF16__)
// Two bfloat16 in 32 bits; their two products are added to a float32.
struct Brain {
    using C = float;
    using A = uint32_t;
    static constexpr int PAIR = 2;
    INLINE f32v fmadd(f32v c, u32v a, u32v b) {
        return (f32v)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
    }
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

template <class M> constexpr int LANES = NV * WIDE<typename M::C>;  // most queries of one block

// Kept from being folded into each product as a memory operand, which would load it anew for each.
template <class A> INLINE Vec<A> broadcast(A x) {
    Vec<A> v = all(x);
#if defined(__x86_64__) && (defined(__AVX2__) || defined(__AVX512F__))
    asm volatile("" : "+v"(v));
#endif
    return v;
}

template <class M, int R, int N, bool ADD>
static void micro(i64 depth, const typename M::A* a, i64 am, i64 ak, const typename M::A* b, i64 ldb, typename M::C* c, i64 ldc,
                  const typename M::C* factor) {
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
static void columns(i64 m, i64 depth, const typename M::A* a, i64 am, i64 ak, const typename M::A* b, i64 ldb, typename M::C* c,
                    i64 ldc, const typename M::C* factor) {
    for (; m >= MR; m -= MR, a += MR * am, c += MR * ldc) micro<M, MR, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
    switch (m) {
        case 5: return micro<M, 5, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 4: return micro<M, 4, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 3: return micro<M, 3, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 2: return micro<M, 2, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        case 1: return micro<M, 1, N, ADD>(depth, a, am, ak, b, ldb, c, ldc, factor);
        default: return;
    }
}

// `n`, in vectors, may be any number; `factor`, one number a column, multiplies C before it is added to.
template <class M, bool ADD>
static void gemm(i64 m, i64 n, i64 depth, const typename M::A* a, i64 am, i64 ak, const typename M::A* b, i64 ldb,
                 typename M::C* c, i64 ldc, const typename M::C* factor = nullptr) {
    constexpr int W = WIDE<typename M::C>;
    for (; n >= NV; n -= NV, b += NV * W, c += NV * W) columns<M, NV, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
    if constexpr (NV > 3) {
        if (n == 3) columns<M, 3, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
        if (n == 2) columns<M, 2, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
    }
    if (n == 1) columns<M, 1, ADD>(m, depth, a, am, ak, b, ldb, c, ldc, factor);
}
