// Randomness and hard attention in the forward pass: dropout, noise and divergence of variational attention, and the
// choice of one key per lane.
#pragma once
#include "forward_state.h"

namespace REGARD_LEVEL {
template <class M> static void apply_dropout(const Args& a, const Block<M>& k, i64 j0, i64 n, typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    i64 bound = keep_threshold(a);
    for (i64 j = 0; j < n; ++j)
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> w = load(s + j * k.ld + i);
            store(s + j * k.ld + i, keep_factor<C>(k.drop + i, j0 + j, bound) != C(0) ? w : Vec<C>{});
        }
}

// The Kullback-Leibler divergence of N(s, σ²) from N(μ₀, σ₀²), summed over the visible keys (s is not −∞).
template <class M> static void divergence(Tiles<M>& t, ForwardState<M>& w, i64 j0, i64 n, const typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    double scale = number_of<C>(a, w.k.h), ratio = scale / a.prior_scale;
    C spread = C(__builtin_log(a.prior_scale) - __builtin_log(scale) + ratio * ratio / 2 - 0.5);
    C half = C(0.5 / (a.prior_scale * a.prior_scale));
    if (a.prior_mean.at) read_dense<M>(t.dense, a.prior_mean, w.k, j0, n, t.scratch);
    for (i64 j = 0; j < n; ++j)
        for (i64 i = 0; i < w.k.ld; i += W) {
            Vec<C> x = load(s + j * w.k.ld + i);
            Vec<C> d = a.prior_mean.at ? x - load(t.dense + j * w.k.ld + i) : x;
            Vec<C> part = fma(d * half, d, splat(spread));
            store(w.extra + i, load(w.extra + i) + (x > -C(__builtin_inf()) || x != x ? part : Vec<C>{}));
        }
}

template <class M> static void add_noise(const Args& a, const Block<M>& k, i64 j0, i64 n, typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    if (!a.seed) return;
    C scale = C(number_of<C>(a, k.h));
    for (i64 j = 0; j < n; ++j)
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> e =
                a.normalizer == VARIATIONAL ? normal<C>(k.noise + i, j0 + j) * scale : gumbel<C>(k.noise + i, j0 + j);
            store(s + j * k.ld + i, load(s + j * k.ld + i) + e);
        }
}

// Chooses one key per lane, the first of the largest, and updates the sums for its log-probability and gradient. All
// numbers are relative to the largest score so far without noise, because s / T itself may overflow; the noise is at
// most 17.
template <class M> static void choose(const Args& a, ForwardState<M>& w, i64 j0, i64 n, const typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    Block<M>& k = w.k;
    C inverse_temperature = C(1 / number_of<C>(a, k.h)), exponent = C(1.44269504088896340736);
    const Vec<C> lowest = splat(-C(__builtin_inf()));
    for (i64 i = 0; i < k.ld; i += W) {
        Vec<C> old = load(w.pivot + i), now = old;
        for (i64 j = 0; j < n; ++j) now = maxv(load(s + j * k.ld + i), now);
        Vec<C> base = now == lowest ? Vec<C>{} : now, moved = (old - base) * inverse_temperature,
               f = exp2v(moved * exponent);
        Vec<C> plain = load(w.second + i) * f, noisy = load(w.total + i) * f;
        Vec<C> best = load(w.top + i) + moved, score = load(w.taken_score + i) + moved;
        IVec<C> taken = load_ints<C>(w.taken + i);
        for (i64 j = 0; j < n; ++j) {
            Vec<C> x = (load(s + j * k.ld + i) - base) * inverse_temperature, y = x;
            plain += exp2v(x * exponent);
            if (a.seed) {
                y += gumbel<C>(k.noise + i, j0 + j);
                noisy += exp2v(y * exponent);
            }
            auto better = (y > best) | ((y != y) & (best == best)) | ((taken < 0) & (x > lowest));
            best = better ? y : best, score = better ? x : score;
            taken = better ? splat_ints<C>(Int<C>(j0 + j)) : taken;
        }
        store(w.pivot + i, now), store(w.top + i, best), store(w.taken_score + i, score);
        store(w.second + i, plain), store(w.total + i, a.seed ? noisy : plain);
        __builtin_memcpy(w.taken + i, &taken, BYTES);
    }
}
}  // namespace REGARD_LEVEL
