// The steps between the products of the backward pass: the weights again, and the gradients of scores from those of
// weights.
#pragma once
#include "backward_state.h"
#include "forward.h"

namespace REGARD_LEVEL {
// The factor of dropout for weights and their gradients.
template <class M> INLINE Vec<typename M::C> dropout_factor(const Args& a, const Block<M>& k, i64 i, i64 j) {
    using C = typename M::C;
    return keep_factor<C>(k.drop + i, j, keep_threshold(a)) * C(1 / (1 - a.dropout));
}

// The slope of entmax at a weight, w^(2 − α) on the support.
template <class C> INLINE Vec<C> slope(Vec<C> w, double alpha) {
    if (alpha == 2) return w > C(0) ? splat(C(1)) : Vec<C>{};
    if (alpha == 1.5) return sqrtv(w);
    return powv(w, 2 - alpha);
}

// The gradients of the weights: the output's gradient times the values.
template <class M> static void weight_gradients(const Tiles<M>& t, const BackwardState<M>& w, i64 tile, i64 j0, i64 n,
                                                typename M::C* g) {
    gemm<M, false>(n, w.k.nv, t.value_units, t.value.at + (j0 - tile) * t.value.row, t.value.row, t.value.step,
                   w.grad_output, w.k.ld, g, w.k.ld);
}

// Computes the weights in t.scores, their gradients, with dropout, in `g`, and the gradient of the normalizer's extra
// result in t.dense. False if no lane sees any of the keys.
template <class M> static bool recompute_weights(Tiles<M>& t, BackwardState<M>& w, i64 tile, i64 j0, i64 n,
                                                 typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    C* s = t.scores;
    if (!score(t, k, w.q, tile, j0, n, s)) return false;
    if (a.normalizer == VARIATIONAL) {
        if (a.grad_extra) {
            if (a.prior_mean.at) read_dense<M>(t.dense, a.prior_mean, k, j0, n, t.scratch);
            for (i64 i = 0; i < n * k.ld; i += W) {
                Vec<C> x = load(s + i), d = a.prior_mean.at ? x - load(t.dense + i) : x;
                store(t.dense + i, x == -C(__builtin_inf()) ? Vec<C>{} : d * C(1 / (a.prior_scale * a.prior_scale)));
            }
            if (a.grad_numbers) {
                double scale = number_of<C>(a, k.h);
                C each = C(scale / (a.prior_scale * a.prior_scale) - 1 / scale);
                for (i64 i = 0; i < k.ld; i += W) {
                    Vec<C> count = {};
                    for (i64 j = 0; j < n; ++j)
                        count += load(s + j * k.ld + i) == -C(__builtin_inf()) ? Vec<C>{} : splat(C(1));
                    store(w.numbers + i, fma(load(w.extra + i) * each, count, load(w.numbers + i)));
                }
            }
        }
        add_noise(a, k, j0, n, s);
    }
    if (is_hard(a.normalizer) && a.grad_extra) {
        // The gradient of ln softmax(s / T) of the chosen key: 1 for that key and 0 for others, minus the softmax.
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> base = load(w.row_stats.top + i), rest = load(w.row_stats.second + i), extra = load(w.extra + i);
            IVec<C> taken = load_ints<C>((const Int<C>*)(w.row_stats.own + i));
            for (i64 j = 0; j < n; ++j) {
                Vec<C> x = (load(s + j * k.ld + i) - base) * C(w.row_stats.factor);
                Vec<C> p = exp2v(fma(x, splat(C(1.44269504088896340736)), -rest));
                store(t.dense + j * k.ld + i, extra * ((taken == Int<C>(j0 + j) ? splat(C(1)) : Vec<C>{}) - p));
            }
        }
    }
    bool learned_temperature = is_hard(a.normalizer) && a.grad_numbers;
    if (learned_temperature)
        __builtin_memcpy(t.mask, s, n * k.ld * sizeof(C));  // the mask is no longer needed: it is in s
    weights_from_scores(t, k, w.row_stats, j0, n, s);
    weight_gradients(t, w, tile, j0, n, g);
    if (a.dropout > 0)
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W)
                store(g + j * k.ld + i, load(g + j * k.ld + i) * dropout_factor(a, k, i, j0 + j));
    return true;
}

// Accumulates the sums over a row that its gradients need and that cannot be computed from the output.
template <class M> static void add_row_sums(Tiles<M>& t, BackwardState<M>& w, i64 n, const typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const C* s = t.scores;
    double alpha = number_of<C>(a, k.h);
    for (i64 i = 0; i < k.ld; i += W) {
        Vec<C> delta = load(w.delta + i), slopes = load(w.slopes + i), mass = load(w.mass + i);
        Vec<C> weighted = load(w.weighted + i), weighted_surprise = load(w.weighted_surprise + i);
        for (i64 j = 0; j < n; ++j) {
            Vec<C> p = load(s + j * k.ld + i), d = load(g + j * k.ld + i);
            if (a.normalizer != ENTMAX) {
                delta = fma(p, d, delta), mass += p;
                continue;
            }
            Vec<C> f = slope<C>(p, alpha);
            slopes += f;
            delta = fma(f, d, delta);
            if (a.grad_numbers) {
                Vec<C> surprise = p > C(0) ? -p * lnv(p) : Vec<C>{};
                mass += surprise;
                weighted = fma(p, d, weighted);
                weighted_surprise = fma(surprise, d, weighted_surprise);
            }
        }
        store(w.delta + i, delta), store(w.slopes + i, slopes), store(w.mass + i, mass);
        store(w.weighted + i, weighted), store(w.weighted_surprise + i, weighted_surprise);
    }
}
template <class M> static void finish_row_sums(const Args& a, BackwardState<M>& w) {
    using C = typename M::C;
    if (a.normalizer != ENTMAX) {
        // Divided by the sum of the weights, which rounding makes unequal to 1, so that gradients of scores sum to 0.
        for (i64 i = 0; !a.sink && i < w.k.ld; ++i) w.delta[i] = w.mass[i] > 0 ? w.delta[i] / w.mass[i] : w.delta[i];
        return;
    }
    double alpha_minus_1 = number_of<C>(a, w.k.h) - 1;
    for (i64 i = 0; i < w.k.ld; ++i) {
        C share = w.slopes[i] > 0 ? w.delta[i] / w.slopes[i] : C(0);  // Σ share · dw
        w.delta[i] = share;
        if (i < w.k.n && a.grad_numbers)
            w.numbers[i] += C((w.weighted[i] - share) / (alpha_minus_1 * alpha_minus_1) +
                              (w.weighted_surprise[i] - share * w.mass[i]) / alpha_minus_1);
    }
}

// Gradients of the scores from those of the weights, in place in `g`. Then sets t.scores to the weights that multiplied
// the values.
template <class M> static void score_gradients(Tiles<M>& t, BackwardState<M>& w, i64 j0, i64 n, typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    C* s = t.scores;
    i64 kind = a.normalizer;
    double alpha = number_of<C>(a, k.h);
    bool through = kind == GUMBEL || kind == STRAIGHT_THROUGH;
    for (i64 i = 0; i < k.ld; i += W) {
        Vec<C> delta = load(w.delta + i), numbers = load(w.numbers + i), extra = load(w.extra + i),
               top = load(w.row_stats.top + i);
        for (i64 j = 0; j < n; ++j) {
            Vec<C> p = load(s + j * k.ld + i), d = load(g + j * k.ld + i), r;
            if (kind == SIGMOID) {
                r = p * (C(1) - p) * d;
            } else if (kind == ENTMAX) {
                r = slope<C>(p, alpha) * (d - delta);
            } else if (is_hard(kind)) {
                r = through ? p * (d - delta) : Vec<C>{};
                if (a.grad_extra) r += load(t.dense + j * k.ld + i);
                r *= C(w.row_stats.factor);
                if (a.grad_numbers) {
                    // Scores relative to the largest: since the r of a row sum to 0, this does not change the gradient
                    // but reduces the rounding error.
                    Vec<C> x = load(t.mask + j * k.ld + i) - top;
                    x = x == -C(__builtin_inf()) ? Vec<C>{} : x;
                    numbers = fma(r * C(-w.row_stats.factor), x, numbers);
                }
            } else {
                r = p * (d - delta);
                if (kind == VARIATIONAL) {
                    if (a.grad_numbers && a.seed) numbers = fma(r, normal<C>(k.noise + i, j0 + j), numbers);
                    if (a.grad_extra) r = fma(extra, load(t.dense + j * k.ld + i), r);
                }
            }
            store(g + j * k.ld + i, r);
        }
        store(w.numbers + i, numbers);
    }
    if (is_hard(kind)) one_hot(k, w.row_stats, j0, n, s);
    if (a.dropout > 0)
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W)
                store(s + j * k.ld + i, load(s + j * k.ld + i) * dropout_factor(a, k, i, j0 + j));
}

// The operands of the last three products of a tile: weights and gradients of scores by rows, for products over
// queries, and the gradients again for the product over keys.
template <class M> struct GradientOperands {
    const typename M::A *weights, *of_scores, *by_keys;
};

// Stores a vector as bfloat16 at index `i` of `rows`.
template <class M> INLINE void pack_row(typename M::A* rows, i64 i, Vec<typename M::C> x) {
#if defined(__AVX512BF16__)
    if constexpr (M::PAIR == 2) {
        __m256i half = (__m256i)_mm512_cvtneps_pbh((__m512)x);
        __builtin_memcpy((char*)rows + i * 2, &half, 32);
    }
#endif
    (void)rows, (void)i, (void)x;
}

// The operands from the weights in t.scores and the gradients in `g`; `rounded` has room for both in bfloat16.
template <class M> static GradientOperands<M> gradient_operands(Tiles<M>& t, const typename M::C* g, i64 n, i64 ld,
                                                                typename M::A* rounded) {
    if constexpr (M::PAIR == 1) {
        return {t.scores, g, g};
    } else {
        typename M::A* of_scores = rounded + n * ld / 2;
        for (i64 i = 0; i < n * ld; i += WIDE<typename M::C>)
            pack_row<M>(rounded, i, load(t.scores + i)), pack_row<M>(of_scores, i, load(g + i));
        return {rounded, of_scores, pack_weights<M>(g, (typename M::A*)t.dense, n, ld)};
    }
}

// Whether the call is softmax of dot products without options, the most common call: a single pass between the products
// is enough.
template <class M> INLINE bool is_plain(const Args& a) {
    return a.score == DOT && a.normalizer == SOFTMAX && !(a.dropout > 0) && !a.softcap && !a.grad_bias_kind &&
           !a.grad_relative;
}
template <class M>
static GradientOperands<M> plain_score_gradients(Tiles<M>& t, const BackwardState<M>& w, i64 n, typename M::C* g,
                                                 typename M::A* rounded) {
    using C = typename M::C;
    using A = typename M::A;
    i64 ld = w.k.ld;
    C* s = t.scores;
    A *of_scores = rounded + n * ld / 2, *by_keys = (A*)t.dense;
    for (i64 i = 0; i < ld; i += WIDE<C>) {
        Vec<C> base = load(w.row_stats.top + i), rest = load(w.row_stats.rest + i), delta = load(w.delta + i);
        auto weight = [&](i64 j) {
            return exp2v<M::PAIR == 1>(fma(load(s + j * ld + i) - base, splat(t.exponent), -rest));
        };
        auto of_score = [&](i64 j, Vec<C> p) { return p * (load(g + j * ld + i) - delta); };
        if constexpr (M::PAIR == 1) {
            for (i64 j = 0; j < n; ++j) {
                Vec<C> p = weight(j);
                store(s + j * ld + i, p), store(g + j * ld + i, of_score(j, p));
            }
        } else {
            for (i64 j = 0; j < n; j += 2) {
                bool both = j + 1 < n;
                i64 next = both ? j + 1 : j;
                Vec<C> one = weight(j), two = weight(next), r = of_score(j, one), q = of_score(next, two);
                pack_row<M>(rounded, j * ld + i, one), pack_row<M>(rounded, next * ld + i, two);
                pack_row<M>(of_scores, j * ld + i, r), pack_row<M>(of_scores, next * ld + i, q);
                pack_pair<M>(by_keys + j / 2 * ld + i, r, both ? q : Vec<C>{});
            }
        }
    }
    if constexpr (M::PAIR == 1) return {s, g, g};
    return {rounded, of_scores, by_keys};
}
}  // namespace REGARD_LEVEL
