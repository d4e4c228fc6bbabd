// The state of a block of queries in the backward pass, its sums over queries, and how a block begins and ends.
#pragma once
#include "forward_state.h"
#include "weights.h"

namespace REGARD_LEVEL {
// The layout of the gradient of a tensor that broadcasts to (B, H, Lq, Lk). FULL: (B, H, Lq, Lk), each entry written
// once; PER_KEY: (B, H, splits, Lk); PER_QUERY: (B, H, Lq, 1); SHARED: the tensor's shape, with sums over the batches
// or heads that share an entry.
enum GradientKind : i64 { FULL = 1, PER_KEY = 2, PER_QUERY = 3, SHARED = 4 };

template <class M> struct BackwardState {
    using C = typename M::C;
    using A = typename M::A;
    Block<M> k;
    Query<M> q;
    RowStats<M> row_stats;
    A* grad_output;     // gradient of the output, [value width][lanes]
    A *query, *output;  // queries (times the scale) and gradient of the output by rows, [lanes][padded width]
    C* grad;            // gradient of the queries, [width][lanes]
    C* delta;  // Σ_j w dw, which the gradient of softmax subtracts; for entmax, the mean of dw weighted by the slopes
    C *numbers, *extra, *sum, *of_bias, *of_prior;
    C *slopes, *mass;                 // Σ slope (entmax); Σ −w ln w (entmax), Σ w (others)
    C *weighted, *weighted_surprise;  // entmax with a learned alpha: Σ w dw, Σ −w ln w dw
};

// The sums over queries of one task: gradients of keys and values.
template <class M> struct Sums {
    using C = typename M::C;
    C *key, *value;  // rows padded to full vectors
    i64 key_row, value_row;
    i64 split;
};

// `n` rounded up to full vectors.
template <class C> INLINE i64 padded(i64 n) { return round_up(n, WIDE<C>); }

template <class M> static void allocate(BackwardState<M>& w, const Args& a, Arena& arena) {
    using C = typename M::C;
    using A = typename M::A;
    i64 lanes = LANES<M>;
    w.q.transposed = arena.take<A>(units<M>(a.width) * lanes);
    w.q.square = arena.take<C>(lanes);
    w.row_stats = allocate_row_stats<M>(arena);
    w.grad_output = arena.take<A>(units<M>(a.value_width) * lanes);
    w.query = arena.take<A>(lanes / M::PAIR * padded<C>(a.width));
    w.output = arena.take<A>(lanes / M::PAIR * padded<C>(a.value_width));
    w.grad = arena.take<C>(a.width * lanes);
    C** each_lane[] = {&w.delta,  &w.numbers,           &w.extra, &w.sum,     &w.of_bias, &w.of_prior,
                       &w.slopes, &w.weighted_surprise, &w.mass,  &w.weighted};
    for (C** each : each_lane) *each = arena.take<C>(lanes);
}

// Copies rows of a tensor with the queries' shape into the layout of the products over queries.
template <class M>
static void keep_rows(typename M::A* to, const Block<M>& k, const Strided& from, i64 width, const bool* hidden,
                      double scale) {
    using A = typename M::A;
    using C = typename M::C;
    i64 ld = padded<C>(width);
    if constexpr (M::PAIR == 2) {
        auto row_of = [&](i64 i) {
            return i < k.n && !(hidden && hidden[i]) ? (const uint16_t*)at(from, k.b, k.h, k.query[i], 0) : nullptr;
        };
        for (i64 i = 0; i < k.ld; i += 2) {
            A* row = to + i / 2 * ld;
            pair_up(row, row_of(i), row_of(i + 1), from.stride[3], width);
            for (i64 e = width; e < ld; ++e) row[e] = 0;
        }
    } else {
        for (i64 i = 0; i < k.ld; ++i) {
            A* row = to + i * ld;
            if (i >= k.n || (hidden && hidden[i])) {
                __builtin_memset(row, 0, ld * sizeof(A));
                continue;
            }
            read_row<C>(row, at(from, k.b, k.h, k.query[i], 0), from.dtype, from.stride[3], width);
            for (i64 e = width; e < ld; ++e) row[e] = 0;
            for (i64 e = 0; scale != 1 && e < ld; e += WIDE<C>) store(row + e, load(row + e) * C(scale));
        }
    }
}

// The factor of the products of score gradients with queries or keys.
INLINE double product_scale(const Args& a) {
    return a.score == DISTANCE ? 2 * a.scale : a.score == DOT ? a.scale : 1.0;
}

// The row of one query in the dtype C: in place if possible, otherwise copied to `buffer`.
template <class M>
INLINE const typename M::C* row_of(typename M::C* buffer, const Strided& from, const Block<M>& k, i64 lane, i64 width) {
    using C = typename M::C;
    const char* row = at(from, k.b, k.h, k.query[lane], 0);
    if (from.stride[3] == 1 && from.dtype == (sizeof(C) == 8 ? F64 : F32)) return (const C*)row;
    read_row<C>(buffer, row, from.dtype, from.stride[3], width);
    return buffer;
}

// Whether a block goes through the keys twice, the first time for Σ w dw. Softmax computes this sum from the output and
// its gradient, but other normalizers cannot. With outputs in half precision, the sum is not exact enough either if the
// gradient of a small parameter adds up rows of score gradients: a row sums to 0, and the rounding error grows with the
// number of keys and, for the slopes of ALiBi, with the distances.
INLINE bool needs_two_passes(const Args& a) {
    if (a.normalizer == SIGMOID || a.normalizer == ARGMAX || a.normalizer == REINFORCE) return false;
    if (a.normalizer == ENTMAX || a.normalizer == GUMBEL || a.normalizer == STRAIGHT_THROUGH) return true;
    bool rounded = a.dtype == BF16 || a.dtype == F16, summed_bias = a.grad_bias_kind && a.grad_bias_kind != FULL;
    return rounded && (a.grad_relative || a.grad_vector || a.grad_numbers || summed_bias);
}

template <class M> static void begin_backward(BackwardState<M>& w, Tiles<M>& t) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    bool sees_nothing[LANES<M>], any_hidden = false;
    for (i64 i = 0; i < k.n; ++i) {
        sees_nothing[i] = k.start[i] >= k.end[i] ||
                          (a.normalizer != SIGMOID && stat<C>(a, k.b, k.h, TOP)[k.query[i]] == -C(__builtin_inf()));
        any_hidden |= sees_nothing[i];
    }
    const bool* hidden = any_hidden ? sees_nothing : nullptr;
    load_stats(a, k, w.row_stats);
    read_query(t, k, w.q, hidden);
    read_transposed<M>(w.grad_output, k, a.grad_output, a.value_width, (char*)t.scratch, hidden);
    keep_rows<M>(w.query, k, a.query, a.width, hidden, M::PAIR == 1 ? product_scale(a) : 1.0);
    keep_rows<M>(w.output, k, a.grad_output, a.value_width, hidden, 1.0);
    __builtin_memset(w.grad, 0, a.width * k.ld * sizeof(C));
    for (i64 i = 0; i < k.ld; ++i) {
        w.numbers[i] = w.sum[i] = w.of_bias[i] = w.of_prior[i] = w.delta[i] = 0;
        w.slopes[i] = w.weighted_surprise[i] = w.mass[i] = w.weighted[i] = 0;
        bool real = i < k.n && !sees_nothing[i];
        w.extra[i] =
            real && a.grad_extra ? ((const C*)a.grad_extra)[(k.b * a.heads + k.h) * a.queries + k.query[i]] : C(0);
        if (!real || a.normalizer == SIGMOID || needs_two_passes(a)) continue;
        const C* output = row_of(t.scratch, a.output, k, i, a.value_width);
        const C* grad = row_of(t.scratch + round_up(a.value_width, 16), a.grad_output, k, i, a.value_width);
        Vec<C> sum = {};
        for (i64 e = 0; e < a.value_width; e += WIDE<C>) {
            i64 left = a.value_width - e;
            sum = fma(load_part(output + e, left), load_part(grad + e, left), sum);
        }
        w.delta[i] = sum_lanes<C>(sum);
    }
}

template <class M> static void finish_backward(Tiles<M>& t, BackwardState<M>& w) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    C scale = C(product_scale(a));
    for (i64 e = 0; e < a.width; ++e)
        for (i64 i = 0; i < k.ld; ++i) {
            C x = w.grad[e * k.ld + i] * scale;
            if constexpr (M::PAIR == 1)
                if (a.score == DISTANCE) x -= 2 * C(a.scale) * w.sum[i] * w.q.transposed[e * k.ld + i];
            w.grad[e * k.ld + i] = x;
        }
    write_transposed(t, k, a.grad_query, a.width, w.grad);
    for (i64 i = 0; i < k.n; ++i) {
        i64 q = k.query[i];
        i64 row = (k.b * a.heads + k.h) * a.queries + q;
        if (a.grad_numbers) ((C*)a.grad_numbers)[row] = w.numbers[i];
        if (a.grad_bias_kind == PER_QUERY) *(C*)at(a.grad_bias, k.b, k.h, q, 0) = w.of_bias[i];
        if (a.grad_prior_kind == PER_QUERY) *(C*)at(a.grad_prior_mean, k.b, k.h, q, 0) = w.of_prior[i];
    }
}
}  // namespace REGARD_LEVEL
