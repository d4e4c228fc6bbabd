// Weights from scores and the statistics of the forward pass. TOP is the largest score (without the scale if
// Tiles::unscaled is set), or −∞ if the query sees no key. REST is small, and s − TOP is exact near the maximum, so
// that a weight is as accurate for scores of 10³⁰ as for scores of 1:
//   softmax, variational  REST ln Σ exp(s − TOP), with the sink; LSE log-sum-exp without it; OWN weight of the sink
//   top-k                 the same for the kept scores; OWN the smallest of them
//   entmax                LSE the threshold; REST 1 / Σ of the unnormalized weights
//   hard                  REST and LSE ln Σ exp((s − TOP) / T) with and without noise; OWN the chosen key
// POISON is NaN if the query sees a key or value that is not finite, else 0.
#pragma once
#include "block.h"
#include "tiles.h"

namespace REGARD_LEVEL {
template <class M> struct RowStats {
    using C = typename M::C;
    C *top, *second, *rest, *own;  // TOP, LSE, REST and OWN, with logarithms of base 2
    double power;                  // entmax: 1 / (α − 1)
    double factor;                 // entmax: α − 1; hard normalizers: 1 / T
};

template <class M> static RowStats<M> allocate_row_stats(Arena& arena) {
    using C = typename M::C;
    return {arena.take<C>(LANES<M>), arena.take<C>(LANES<M>), arena.take<C>(LANES<M>), arena.take<C>(LANES<M>), 1, 1};
}

template <class M> static void load_stats(const Args& a, const Block<M>& k, RowStats<M>& s) {
    using C = typename M::C;
    const C infinity = C(__builtin_inf()), log2e = C(1.44269504088896340736);
    double number = number_of<C>(a, k.h);
    if (a.normalizer == ENTMAX) s.factor = number - 1, s.power = 1 / (number - 1);
    if (is_hard(a.normalizer)) s.factor = 1 / number;
    for (i64 i = 0; i < k.ld; ++i) {
        i64 q = k.query[i];
        s.top[i] = i < k.n ? stat<C>(a, k.b, k.h, TOP)[q] : -infinity;
        s.second[i] = stat<C>(a, k.b, k.h, LSE)[q];
        s.rest[i] = stat<C>(a, k.b, k.h, REST)[q];
        s.own[i] = stat<C>(a, k.b, k.h, OWN)[q];
        bool none = s.top[i] == -infinity;
        if (none) s.top[i] = 0;
        if (a.normalizer == ENTMAX) {
            if (none) s.second[i] = 1, s.rest[i] = 0;
        } else {
            // Without a visible key, every exponential becomes 0.
            s.rest[i] = none ? infinity : s.rest[i] * log2e;
            s.second[i] = none ? infinity : s.second[i] * log2e;
        }
    }
}

// ((s − max)(α − 1) − τ)₊
template <class C> INLINE Vec<C> above(Vec<C> s, Vec<C> top, Vec<C> threshold, C factor) {
    return maxv((s - top) * factor - threshold, Vec<C>{});
}
template <class C> INLINE Vec<C> raised(Vec<C> x, double power) {
    if (power == 1) return x;
    if (power == 2) return x * x;
    return powv(x, power);
}

// Replaces scores by weights. For hard normalizers, these are the soft weights of s / T with noise, which their
// gradients use.
template <class M> static void weights_from_scores(Tiles<M>& t, const Block<M>& k, const RowStats<M>& row_stats, i64 j0,
                                                   i64 n, typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    const C log2e = C(1.44269504088896340736);
    for (i64 i = 0; i < k.ld; i += W) {
        Vec<C> base = load(row_stats.top + i), rest = load(row_stats.rest + i);
        if (a.normalizer == SIGMOID) {
            for (i64 j = 0; j < n; ++j) store(s + j * k.ld + i, C(1) / (C(1) + exp2v(load(s + j * k.ld + i) * -log2e)));
        } else if (a.normalizer == ENTMAX) {
            Vec<C> threshold = load(row_stats.second + i);
            for (i64 j = 0; j < n; ++j) {
                Vec<C> part = above<C>(load(s + j * k.ld + i), base, threshold, C(row_stats.factor));
                store(s + j * k.ld + i, raised<C>(part, row_stats.power) * rest);
            }
        } else if (a.normalizer == TOPK) {
            Vec<C> cutoff = load(row_stats.own + i);
            for (i64 j = 0; j < n; ++j) {
                Vec<C> x = load(s + j * k.ld + i);
                Vec<C> w = exp2v(fma(x - base, splat(log2e), -rest));
                store(s + j * k.ld + i, x < cutoff ? Vec<C>{} : w);
            }
        } else if (is_hard(a.normalizer)) {
            for (i64 j = 0; j < n; ++j) {
                Vec<C> x = (load(s + j * k.ld + i) - base) * C(row_stats.factor);
                if (a.seed) x += gumbel<C>(k.noise + i, j0 + j);
                store(s + j * k.ld + i, exp2v(fma(x, splat(log2e), -rest)));
            }
        } else {
            for (i64 j = 0; j < n; ++j)
                store(s + j * k.ld + i, exp2v(fma(load(s + j * k.ld + i) - base, splat(t.exponent), -rest)));
        }
    }
}

// 1 for the chosen key, 0 for others.
template <class M> static void one_hot(const Block<M>& k, const RowStats<M>& row_stats, i64 j0, i64 n,
                                       typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    for (i64 i = 0; i < k.ld; i += W) {
        IVec<C> taken = load_ints<C>((const Int<C>*)(row_stats.own + i));
        for (i64 j = 0; j < n; ++j) store(s + j * k.ld + i, taken == Int<C>(j0 + j) ? splat(C(1)) : Vec<C>{});
    }
}
}  // namespace REGARD_LEVEL
