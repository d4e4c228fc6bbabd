// What the backward keeps of a block of queries and of what it adds up along them, and how a block begins and ends.
#pragma once
#include "forward_state.h"
#include "weights.h"

namespace REGARD_LEVEL {
enum Spread : i64 { WHOLE = 1, OF_KEYS = 2, OF_QUERIES = 3, SHARED = 4 };  // how a dense gradient is given

template <class M> struct BackwardState {
    using C = typename M::C;
    using A = typename M::A;
    Block<M> k;
    Query<M> q;
    RowStats<M> row_stats;
    A* grad_output;  // gradient of the output, [value width][lanes]
    A *query,
        *output;  // queries (times their scale) and the output's gradient by rows, [lanes][width in whole vectors]
    C* grad;      // of the queries, [width][lanes]
    C* delta;     // Σ_j w dw, what the softmax's gradient takes off; of entmax by its slopes
    C *numbers, *extra, *sum, *of_bias, *of_prior;
    C *soft, *squared, *mass, *plain;  // of entmax: Σ slope, Σ slope · dw, Σ −w ln w, and others by turns
};

// What one task adds up along the queries.
template <class M> struct Sums {
    using C = typename M::C;
    C *key, *value;  // rows of whole vectors
    i64 key_row, value_row;
    i64 split;
};

template <class C> INLINE i64 whole(i64 n) { return round_up(n, WIDE<C>); }

template <class M> static void allocate(BackwardState<M>& w, const Args& a, Arena& arena) {
    using C = typename M::C;
    using A = typename M::A;
    i64 lanes = LANES<M>;
    w.q.transposed = arena.take<A>(units<M>(a.width) * lanes);
    w.q.square = arena.take<C>(lanes);
    w.row_stats = allocate_row_stats<M>(arena);
    w.grad_output = arena.take<A>(units<M>(a.value_width) * lanes);
    w.query = arena.take<A>(lanes / M::PAIR * whole<C>(a.width));
    w.output = arena.take<A>(lanes / M::PAIR * whole<C>(a.value_width));
    w.grad = arena.take<C>(a.width * lanes);
    C** each_lane[] = {&w.delta,    &w.numbers, &w.extra,   &w.sum,  &w.of_bias,
                       &w.of_prior, &w.soft,    &w.squared, &w.mass, &w.plain};
    for (C** each : each_lane) *each = arena.take<C>(lanes);
}

// Rows of a tensor of the queries' shape as the products along the queries want them.
template <class M>
static void keep_rows(typename M::A* to, const Block<M>& k, const Strided& from, i64 width, const bool* hidden,
                      double scale) {
    using A = typename M::A;
    using C = typename M::C;
    i64 ld = whole<C>(width);
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

// What multiplies the product of score gradients with queries or keys.
INLINE double product_scale(const Args& a) {
    return a.score == DISTANCE ? 2 * a.scale : a.score == DOT ? a.scale : 1.0;
}

// One query's row as numbers of C, where it lies or copied to `held`.
template <class M>
INLINE const typename M::C* row_of(typename M::C* buffer, const Strided& from, const Block<M>& k, i64 lane, i64 width) {
    using C = typename M::C;
    const char* row = at(from, k.b, k.h, k.query[lane], 0);
    if (from.stride[3] == 1 && from.dtype == (sizeof(C) == 8 ? F64 : F32)) return (const C*)row;
    read_row<C>(buffer, row, from.dtype, from.stride[3], width);
    return buffer;
}

// Whether a block goes along the keys twice, first for Σ w dw: because the output, from which the softmax has it, does
// not hold it, or holds it rounded to half precision where the gradient of a small parameter sums whole rows of score
// gradients. Such a row sums to 0, and what rounding adds grows with the number of keys and, for ALiBi's slopes, with
// their distances.
INLINE bool needs_two_passes(const Args& a) {
    if (a.normalizer == SIGMOID || a.normalizer == ARGMAX || a.normalizer == REINFORCE) return false;
    if (a.normalizer == ENTMAX || a.normalizer == GUMBEL || a.normalizer == STRAIGHT_THROUGH) return true;
    bool rounded = a.dtype == BF16 || a.dtype == F16, summed_bias = a.grad_bias_kind && a.grad_bias_kind != WHOLE;
    return rounded && (a.grad_relative || a.grad_vector || a.grad_numbers || summed_bias);
}

template <class M> static void begin_backward(BackwardState<M>& w, Tiles<M>& t) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    bool unseeing[LANES<M>], some = false;
    for (i64 i = 0; i < k.n; ++i) {
        unseeing[i] = k.start[i] >= k.end[i] ||
                      (a.normalizer != SIGMOID && stat<C>(a, k.b, k.h, TOP)[k.query[i]] == -C(__builtin_inf()));
        some |= unseeing[i];
    }
    const bool* hidden = some ? unseeing : nullptr;
    load_stats(a, k, w.row_stats);
    read_query(t, k, w.q, hidden);
    read_transposed<M>(w.grad_output, k, a.grad_output, a.value_width, (char*)t.scratch, hidden);
    keep_rows<M>(w.query, k, a.query, a.width, hidden, M::PAIR == 1 ? product_scale(a) : 1.0);
    keep_rows<M>(w.output, k, a.grad_output, a.value_width, hidden, 1.0);
    __builtin_memset(w.grad, 0, a.width * k.ld * sizeof(C));
    for (i64 i = 0; i < k.ld; ++i) {
        w.numbers[i] = w.sum[i] = w.of_bias[i] = w.of_prior[i] = w.delta[i] = 0;
        w.soft[i] = w.squared[i] = w.mass[i] = w.plain[i] = 0;
        bool real = i < k.n && !unseeing[i];
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
        if (a.grad_bias_kind == OF_QUERIES) *(C*)at(a.grad_bias, k.b, k.h, q, 0) = w.of_bias[i];
        if (a.grad_prior_kind == OF_QUERIES) *(C*)at(a.grad_prior_mean, k.b, k.h, q, 0) = w.of_prior[i];
    }
}
}  // namespace REGARD_LEVEL
