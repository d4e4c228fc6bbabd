// What chance and choice add to the forward: dropout, the variational's noise and divergence, one key a lane.
#pragma once

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

// The divergence of N(s, σ²) from N(μ₀, σ₀²), summed over the keys that are visible (where s is not −∞).
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
            Vec<C> e = a.normalizer == VARIATIONAL ? normal<C>(k.noise + i, j0 + j) * scale : gumbel<C>(k.noise + i, j0 + j);
            store(s + j * k.ld + i, load(s + j * k.ld + i) + e);
        }
}

INLINE bool is_hard(i64 kind) { return kind >= ARGMAX && kind <= STRAIGHT_THROUGH; }

// One key a lane: the first of the largest, and the sums that its log-probability and its gradient need.
template <class M> static void choose(const Args& a, ForwardState<M>& w, i64 j0, i64 n, typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    Block<M>& k = w.k;
    C cooler = C(1 / number_of<C>(a, k.h)), exponent = C(1.44269504088896340736);
    for (i64 i = 0; i < n * k.ld; i += W) store(s + i, load(s + i) * cooler);
    for (i64 j = 0; j < n; ++j)
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> x = load(s + j * k.ld + i);
            Vec<C> y = a.seed ? x + gumbel<C>(k.noise + i, j0 + j) : x;
            Vec<C> best = load(w.top + i);
            auto better = (y > best) | ((y != y) & (best == best)) | ((load_ints<C>(w.taken + i) < 0) & (x > -C(__builtin_inf())));
            store(w.top + i, better ? y : best);
            store(w.taken_score + i, better ? x : load(w.taken_score + i));
            IVec<C> taken = better ? splat_ints<C>(Int<C>(j0 + j)) : load_ints<C>(w.taken + i);
            __builtin_memcpy(w.taken + i, &taken, BYTES);
        }
    // Both sums are taken from the top of the scores without noise: noise adds at most 17.
    for (i64 i = 0; i < k.ld; i += W) {
        Vec<C> old = load(w.second_top + i), now = old;
        for (i64 j = 0; j < n; ++j) now = maxv(load(s + j * k.ld + i), now);
        Vec<C> base = now == -C(__builtin_inf()) ? Vec<C>{} : now;
        Vec<C> f = exp2v((old - base) * exponent), plain = load(w.second + i) * f, noisy = load(w.total + i) * f;
        for (i64 j = 0; j < n; ++j) {
            Vec<C> x = (load(s + j * k.ld + i) - base) * exponent;
            plain += exp2v(x);
            if (a.seed) noisy += exp2v(fma(gumbel<C>(k.noise + i, j0 + j), splat(exponent), x));
        }
        store(w.second_top + i, now);
        store(w.second + i, plain), store(w.total + i, a.seed ? noisy : plain);
    }
}
