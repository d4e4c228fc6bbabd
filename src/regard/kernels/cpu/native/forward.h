// The forward pass of one tile, with online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867; Rabe and Staats
// 2021, arXiv:2112.05682; Dao et al. 2022, arXiv:2205.14135).
#pragma once
#include "sampling.h"

namespace REGARD_LEVEL {
// Stores the weights of two keys as pairs of bfloat16.
template <class M> INLINE void pack_pair(typename M::A* to, Vec<typename M::C> one, Vec<typename M::C> two) {
#if defined(__AVX512BF16__)
    if constexpr (M::PAIR == 2) {
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)two, (__m512)one);
        const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                               6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        store(to, (u32v)_mm512_permutexvar_epi16(order, both));
    }
#else
    (void)to, (void)one, (void)two;
#endif
}

// One step of online softmax: updates the maximum `top` and the sum `total`, and writes the weights 2^(exponent · (s −
// top)) to `s` or, in bfloat16, to `pairs`. Returns the factors that correct earlier sums, or null if all are 1. The
// maximum is subtracted before the multiplication, because the product of a large score and the exponent could overflow
// or be rounded differently from a fused one.
template <class M, bool PAIRS>
static const typename M::C* online_softmax(typename M::C* s, typename M::A* pairs, i64 n, i64 ld,
                                           typename M::C exponent, typename M::C* top, typename M::C* total,
                                           typename M::C* factor) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Vec<C> lowest = splat(-C(__builtin_inf()));
    bool moved = false;
    for (i64 i = 0; i < ld; i += W) {
        Vec<C> old = load(top + i), one = old, two = old;
        i64 j = 0;
        for (; j + 1 < n; j += 2) {
            one = maxv(load(s + j * ld + i), one);
            two = maxv(load(s + (j + 1) * ld + i), two);
        }
        if (j < n) one = maxv(load(s + j * ld + i), one);
        Vec<C> now = maxv(one, two);
        store(top + i, now);
        Vec<C> base = now == lowest ? Vec<C>{} : now;  // no visible key yet: any number except −∞
        Vec<C> f = exp2_of_weight((old - base) * exponent);
        moved |= any(old != now);
        store(factor + i, f);
        Vec<C> sum = {}, more = {};
        j = 0;
        if constexpr (PAIRS) {
            for (; j + 1 < n; j += 2) {
                Vec<C> p = exp2v<false>((load(s + j * ld + i) - base) * exponent);
                Vec<C> r = exp2v<false>((load(s + (j + 1) * ld + i) - base) * exponent);
                sum += p, more += r;
                pack_pair<M>(pairs + j / 2 * ld + i, p, r);
            }
            if (j < n) {
                Vec<C> p = exp2v<false>((load(s + j * ld + i) - base) * exponent);
                sum += p;
                pack_pair<M>(pairs + j / 2 * ld + i, p, Vec<C>{});
            }
        } else {
            for (; j + 1 < n; j += 2) {
                Vec<C> p = exp2_of_weight((load(s + j * ld + i) - base) * exponent);
                Vec<C> r = exp2_of_weight((load(s + (j + 1) * ld + i) - base) * exponent);
                sum += p, more += r;
                store(s + j * ld + i, p), store(s + (j + 1) * ld + i, r);
            }
            if (j < n) {
                Vec<C> p = exp2_of_weight((load(s + j * ld + i) - base) * exponent);
                sum += p;
                store(s + j * ld + i, p);
            }
        }
        store(total + i, fma(load(total + i), f, sum + more));
    }
    return moved ? factor : nullptr;
}

// Weights in the layout of the product with the values: `s` itself, or packed into `pairs` of bfloat16.
template <class M> static const typename M::A* pack_weights(const typename M::C* s, typename M::A* pairs, i64 n,
                                                            i64 ld) {
    if constexpr (M::PAIR == 1) {
        return s;
    } else {
        constexpr int W = WIDE<typename M::C>;
        for (i64 j = 0; j < n; j += 2)
            for (i64 i = 0; i < ld; i += W)
                pack_pair<M>(pairs + j / 2 * ld + i, load(s + j * ld + i),
                             j + 1 < n ? load(s + (j + 1) * ld + i) : Vec<typename M::C>{});
        return pairs;
    }
}

// Sets the rows after the last one, up to a full AMX tile, to 0.
template <class M> static void zero_padding(const typename M::A* weights, i64 n, i64 ld) {
    if constexpr (M::TILED) {
        i64 rows = (n + 1) / 2;
        __builtin_memset(const_cast<uint32_t*>(weights) + rows * ld, 0, (units<M>(n) - rows) * ld * sizeof(uint32_t));
    }
}

// Multiplies the output by `factor` (null: 1) and adds the product of weights and values of `n` keys from `j0`.
template <class M>
static void add_values(const Tiles<M>& t, const Block<M>& k, i64 tile, i64 j0, i64 n, const typename M::A* weights,
                       typename M::C* output, const typename M::C* factor) {
    zero_padding<M>(weights, n, k.ld);
    i64 from = (j0 - tile) / M::PAIR * t.value.row;
    gemm<M, true>(t.a.value_width, k.nv, units<M>(n), t.value.at + from, t.value.step, t.value.row, weights, k.ld,
                  output, k.ld, factor);
}

// Whether the call is softmax of dot products without options, except intervals of visible keys.
template <class M> INLINE bool is_plain_softmax(const Tiles<M>& t) {
    const Args& a = t.a;
    return t.unscaled && a.normalizer == SOFTMAX && !a.visible.at && !a.layout.at && !a.bad && !(a.dropout > 0);
}

// For tiles of which the queries of a block see different keys, as on a diagonal: processes one vector of queries at a
// time (in float32 two, because with one, keys and values are read from the second-level cache too often), with the
// keys that it sees. Each query has the same sums in the same order as in `forward_step`.
template <class M> static void forward_step_by_vectors(Tiles<M>& t, ForwardState<M>& w, i64 tile, i64 tile_keys) {
    using C = typename M::C;
    constexpr int W = WIDE<C>, SPAN = M::PAIR == 2 ? 1 : NV / 2;
    const Block<M>& k = w.k;
    alignas(64) C factor[SPAN * W];
    auto* pairs = (typename M::A*)t.dense;
    for (i64 v = 0; v < k.nv; v += SPAN) {
        i64 span = min(SPAN, k.nv - v), low = t.a.keys, high = 0;
        for (i64 u = v; u < v + span; ++u) low = min(low, k.lows[u]), high = max(high, k.highs[u]);
        i64 i = v * W, ld = span * W, j0 = max(tile, low), end = min(tile + tile_keys, high);
        if (j0 >= end) continue;
        j0 = begin_of_pair(tile, j0);
        i64 n = end - j0;
        C* s = t.scores;
        gemm<M, false>(n, span, t.units, t.key.at + (j0 - tile) * t.key.row, t.key.row, t.key.step, w.q.transposed + i,
                       k.ld, s, ld);
        for (i64 j = 0; j < n; ++j)
            for (i64 l = 0; l < ld; l += W)
                store(s + j * ld + l,
                      in_interval(k, i + l, j0 + j) ? load(s + j * ld + l) : splat(-C(__builtin_inf())));
        const C* f = online_softmax<M, M::PAIR == 2>(s, pairs, n, ld, t.exponent, w.top + i, w.total + i, factor);
        const auto* weights = M::PAIR == 2 ? pairs : (const typename M::A*)s;
        gemm<M, true>(t.a.value_width, span, units<M>(n), t.value.at + (j0 - tile) / M::PAIR * t.value.row,
                      t.value.step, t.value.row, weights, ld, w.output + i, k.ld, f);
    }
}

template <class M> static void forward_step(Tiles<M>& t, ForwardState<M>& w, i64 tile, i64 tile_keys) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    i64 j0 = max(tile, k.low), end = min(tile + tile_keys, k.high);
    if (j0 >= end) return;
    if constexpr (!M::TILED)
        if (is_plain_softmax(t) && (j0 < k.inner || end > k.outer))
            return forward_step_by_vectors(t, w, tile, tile_keys);
    j0 = begin_of_pair(tile, j0);
    i64 n = end - j0;
    C* s = t.scores;
    if (!score(t, k, w.q, tile, j0, n, s)) return;
    alignas(64) C factor[LANES<M>];
    auto* pairs = (typename M::A*)t.dense;  // the dense bias is no longer needed
    if (a.normalizer == SOFTMAX || a.normalizer == VARIATIONAL) {
        if (a.normalizer == VARIATIONAL) {
            if (a.extra) divergence(t, w, j0, n, s);
            add_noise(a, k, j0, n, s);
        }
        const C* f;
        const auto* weights = pairs;
        if (M::PAIR == 2 && !(a.dropout > 0)) {
            f = online_softmax<M, M::PAIR == 2>(s, pairs, n, k.ld, t.exponent, w.top, w.total, factor);
        } else {
            f = online_softmax<M, false>(s, pairs, n, k.ld, t.exponent, w.top, w.total, factor);
            if (a.dropout > 0) apply_dropout(a, k, j0, n, s);
            weights = pack_weights<M>(s, pairs, n, k.ld);
        }
        add_values(t, k, tile, j0, n, weights, w.output, f);
    } else if (a.normalizer == SIGMOID) {
        for (i64 i = 0; i < n * k.ld; i += W)
            store(s + i, C(1) / (C(1) + exp2v(load(s + i) * C(-1.44269504088896340736))));
        if (a.dropout > 0) apply_dropout(a, k, j0, n, s);
        add_values(t, k, tile, j0, n, pack_weights<M>(s, pairs, n, k.ld), w.output, nullptr);
    } else {
        choose(a, w, j0, n, s);
    }
}

template <class M> static void finish_forward(Tiles<M>& t, ForwardState<M>& w) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const double infinity = __builtin_inf();
    alignas(64) C times[LANES<M>];
    C dropout_scale = C(1 / (1 - a.dropout));
    for (i64 i = 0; i < k.ld; ++i) {
        bool real = i < k.n;
        C top = C(0), lse = C(0), rest = C(0), own = C(0);
        if (is_hard(a.normalizer)) {
            bool none = w.taken[i] < 0;
            top = none ? C(-infinity) : w.pivot[i];
            lse = C(__builtin_log((double)w.second[i])), rest = C(__builtin_log((double)w.total[i]));
            C one = w.top[i] * 0 + 1;
            if (real && !none) {
                const char* row = at(a.value, k.b, k.hk, w.taken[i], 0);
                i64 size = bytes_of(a.dtype);
                bool keep = !(a.dropout > 0) ||
                            (int32_t)hash32(k.drop[i] ^ ((uint32_t)w.taken[i] * GOLDEN)) >= keep_threshold(a);
                for (i64 e = 0; keep && e < a.value_width; ++e)
                    w.output[e * k.ld + i] = one * read<C>(row + e * a.value.stride[3] * size, a.dtype);
            }
            times[i] = none ? C(0) : dropout_scale;
            if (real) {
                Int<C> taken = w.taken[i];
                __builtin_memcpy(&own, &taken, sizeof(C));
                if (a.extra)
                    ((C*)a.extra)[(k.b * a.heads + k.h) * a.queries + k.query[i]] =
                        none ? C(0) : w.taken_score[i] - lse;
            }
        } else if (a.normalizer == SIGMOID) {
            times[i] = dropout_scale;
        } else {
            double largest = (double)w.top[i] * (t.unscaled ? a.scale : 1.0), sum = (double)w.total[i];
            bool none = sum == 0;
            double log_sum = __builtin_log(sum);
            top = w.top[i], lse = none ? C(-infinity) : C(largest + log_sum);
            if (a.sink && !none) log_sum = with_sink((double)((const C*)a.sink)[k.h] - largest, log_sum, own);
            rest = C(log_sum);
            times[i] = none ? C(0) : C(a.sink ? dropout_scale * __builtin_exp(-log_sum) : dropout_scale / sum);
            if (real && a.extra) ((C*)a.extra)[(k.b * a.heads + k.h) * a.queries + k.query[i]] = w.extra[i];
        }
        if (real) {
            store_stats(a, k, i, top, lse, rest, own);
        }
    }
    write_output(t, k, w.output, times);
}
}  // namespace REGARD_LEVEL
