// The backward pass of one tile: the weights are computed again from the scores and the statistics of the forward pass
// (Dao et al. 2022, arXiv:2205.14135). A group of blocks goes through the keys tile by tile. Gradients of queries are
// accumulated per block, gradients of keys and values in rows per key head.
#pragma once
#include "additive_backward.h"
#include "score_gradients.h"

namespace REGARD_LEVEL {
// Adds a tile of score gradients to the gradient of a tensor that broadcasts to the scores, multiplied by −`times` of
// each lane if `times` is not null.
template <class M>
static void add_dense_gradient(const Strided& to, i64 kind, const Block<M>& k, i64 split, i64 j0, i64 n,
                               const typename M::C* g, const typename M::C* times, typename M::C* of_query,
                               typename M::C* scratch) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    if (kind == PER_QUERY) {
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W) {
                Vec<C> x = load(g + j * k.ld + i);
                store(of_query + i, load(of_query + i) + (times ? x * -load(times + i) : x));
            }
    } else if (kind == PER_KEY) {  // (B, H, splits, Lk)
        for (i64 j = 0; j < n; ++j) {
            Vec<C> sum = {};
            for (i64 i = 0; i < k.ld; i += W) {
                Vec<C> x = load(g + j * k.ld + i);
                for (int l = 0; l < W; ++l) x[l] = i + l < k.n ? x[l] : C(0);
                sum += times ? x * -load(times + i) : x;
            }
            *(C*)at(to, k.b, k.h, split, j0 + j) += sum_lanes<C>(sum);
        }
    } else {
        transpose_back<C>(scratch, KEYS, g, k.ld, k.n, n);
        for (i64 i = 0; i < k.n; ++i) {
            C* row = scratch + i * KEYS;
            char* out = const_cast<char*>(at(to, k.b, k.h, k.query[i], j0));
            if (times)
                for (i64 j = 0; j < n; ++j) row[j] *= -times[i];
            if (kind == SHARED)
                for (i64 j = 0; j < n; ++j) row[j] += *(const C*)(out + j * to.stride[3] * sizeof(C));
            write_row<C>(out, to.dtype, to.stride[3], row, n);
        }
    }
}

template <class M> static void add_relative_gradient(const Args& a, const Block<M>& k, i64 split, i64 j0, i64 n,
                                                     const typename M::C* g, typename M::C* scratch) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    C* table = (C*)a.grad_relative + ((k.b * a.heads + k.h) * a.splits + split) * a.relative_length +
               a.relative_length - a.keys;
    i64 size = n + k.ld;
    __builtin_memset(scratch, 0, size * sizeof(C));
    for (i64 j = 0; j < n; ++j)
        for (i64 i = 0; i < k.ld; i += W) {
            C* to = scratch + n - 1 - j + i;
            store(to, load(to) + load(g + j * k.ld + i));
        }
    // Not for lanes without a query: their gradient is 0, but their entry would be outside of the table.
    for (i64 i = 0; i < n + k.n - 1; ++i) table[j0 + n - 1 - k.query[0] - i] += scratch[i];
}

template <class M> static void add_value_gradient(const BackwardState<M>& w, const Sums<M>& to, i64 j0, i64 n,
                                                  const GradientOperands<M>& f) {
    i64 rows = w.k.ld / M::PAIR, row = to.value_row;
    gemm<M, true>(n, row / WIDE<typename M::C>, rows, f.weights, rows, 1, w.output, row, to.value + j0 * row, row);
}
template <class M> static void add_key_gradient(const BackwardState<M>& w, const Sums<M>& to, i64 j0, i64 n,
                                                const GradientOperands<M>& f) {
    i64 rows = w.k.ld / M::PAIR, row = to.key_row;
    gemm<M, true>(n, row / WIDE<typename M::C>, rows, f.of_scores, rows, 1, w.query, row, to.key + j0 * row, row);
}
template <class M> static void add_query_gradient(const Tiles<M>& t, BackwardState<M>& w, i64 tile, i64 j0, i64 n,
                                                  const GradientOperands<M>& f) {
    zero_padding<M>(f.by_keys, n, w.k.ld);
    gemm<M, true>(t.a.width, w.k.nv, units<M>(n), t.key_pairs.at + (j0 - tile) / M::PAIR * t.key_pairs.row,
                  t.key_pairs.step, t.key_pairs.row, f.by_keys, w.k.ld, w.grad, w.k.ld);
}

// The part of a distance's key gradients that is not a matrix product.
template <class M> static void distance_back(const Tiles<M>& t, BackwardState<M>& w, const Sums<M>& to, i64 tile,
                                             i64 j0, i64 n, const typename M::C* g) {
    using C = typename M::C;
    const Args& a = t.a;
    i64 ld = w.k.ld;
    for (i64 j = 0; j < n; ++j) {
        Vec<C> sum = {};
        for (i64 i = 0; i < ld; i += WIDE<C>) {
            Vec<C> x = load(g + j * ld + i);
            sum += x;
            store(w.sum + i, load(w.sum + i) + x);
        }
        C total = C(-2 * a.scale) * sum_lanes<C>(sum);
        const C* key = (const C*)t.key.at + (j0 - tile + j) * t.key.row;
        for (i64 e = 0; e < a.width; ++e) to.key[(j0 + j) * to.key_row + e] += total * key[e * t.key.step];
    }
}

template <class M>
static void backward_step(Tiles<M>& t, BackwardState<M>& w, const Sums<M>& to, i64 tile, i64 tile_keys,
                          typename M::C* g, typename M::A* rounded, int pass) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    i64 j0 = max(tile, k.low), end = min(tile + tile_keys, k.high);
    if (j0 >= end) return;
    j0 = begin_of_pair(tile, j0);
    i64 n = end - j0;
    if (is_plain<M>(a) && k.n == k.ld) {
        if (!score(t, k, w.q, tile, j0, n, t.scores)) return;
        weight_gradients(t, w, tile, j0, n, g);
        GradientOperands<M> f = plain_score_gradients(t, w, n, g, rounded);
        add_value_gradient(w, to, j0, n, f);
        add_key_gradient(w, to, j0, n, f);
        add_query_gradient(t, w, tile, j0, n, f);
        return;
    }
    if (!recompute_weights(t, w, tile, j0, n, g)) return;
    if (pass == 0) return add_row_sums(t, w, n, g);
    score_gradients(t, w, j0, n, g);
    if (k.n < k.ld)  // lanes without a query have gradient 0
        for (i64 j = 0; j < n; ++j)
            for (i64 i = k.n; i < k.ld; ++i) g[j * k.ld + i] = t.scores[j * k.ld + i] = 0;
    if (a.grad_prior_kind && (a.grad_prior_kind != SHARED) == (pass == 1))
        add_dense_gradient<M>(a.grad_prior_mean, a.grad_prior_kind, k, to.split, j0, n, t.dense, w.extra, w.of_prior,
                              t.scratch);
    if (a.grad_bias_kind && (a.grad_bias_kind != SHARED) == (pass == 1))
        add_dense_gradient<M>(a.grad_bias, a.grad_bias_kind, k, to.split, j0, n, g, nullptr, w.of_bias, t.scratch);
    if (pass == 2) return;
    if (a.grad_relative) add_relative_gradient(a, k, to.split, j0, n, g, t.scratch);
    if (a.softcap)
        for (i64 i = 0; i < n * k.ld; i += WIDE<C>) store(g + i, load(g + i) * load(t.slope + i));
    GradientOperands<M> f = gradient_operands(t, g, n, k.ld, rounded);
    add_value_gradient(w, to, j0, n, f);
    if (a.score == ADDITIVE) {
        if constexpr (M::PAIR == 1)
            (lanes_are_width(t) ? additive_back_few<M> : additive_back<M>)(t, w, to, tile, j0, n, g);
        return;
    }
    add_key_gradient(w, to, j0, n, f);
    if constexpr (M::PAIR == 1)
        if (a.score == DISTANCE) distance_back(t, w, to, tile, j0, n, g);
    add_query_gradient(t, w, tile, j0, n, f);
}
}  // namespace REGARD_LEVEL
