// Looks: tiles of weights are computed again from the statistics of the forward pass, and each requested result is
// updated.
#pragma once
#include "forward_state.h"
#include "sampling.h"
#include "weights.h"

namespace REGARD_LEVEL {
template <class M> struct LookState {
    using C = typename M::C;
    Block<M> k;
    Query<M> q;
    RowStats<M> row_stats;
    C *entropy, *reach;
    C* top;  // the largest weights, [top][lanes], in decreasing order
    Int<C>* top_keys;
    C *sum, *column_max;  // sum and maximum of the current column of the map, per lane
    i64 row[LANES<M>];    // the row of the map of each lane
    C* received;          // [keys][W], summed over lanes at the end; shared by the blocks of a task
};

template <class M> static void allocate(LookState<M>& w, const Args& a, Arena& arena) {
    using C = typename M::C;
    i64 lanes = LANES<M>;
    w.q.transposed = arena.take<typename M::A>(units<M>(a.width) * lanes);
    w.q.square = arena.take<C>(lanes);
    w.row_stats = allocate_row_stats<M>(arena);
    C** each_lane[] = {&w.entropy, &w.reach, &w.sum, &w.column_max};
    for (C** each : each_lane) *each = arena.take<C>(lanes);
    w.top = arena.take<C>(a.top * lanes);
    w.top_keys = arena.take<Int<C>>(a.top * lanes);
}

template <class M> static void begin_look(LookState<M>& w, Tiles<M>& t) {
    load_stats(t.a, w.k, w.row_stats);
    read_query(t, w.k, w.q);
    for (i64 i = 0; t.a.map_sum && i < w.k.ld; ++i) w.row[i] = w.k.query[i] * t.a.map_rows / t.a.queries;
    for (i64 i = 0; i < w.k.ld; ++i) w.entropy[i] = w.reach[i] = w.sum[i] = w.column_max[i] = 0;
    for (i64 i = 0; i < t.a.top * w.k.ld; ++i) w.top[i] = -1, w.top_keys[i] = -1;
}

// Writes the weights of `n` keys to t.scores, 0 in lanes without a query. False if no lane sees any of the keys.
template <class M> static bool weights_of(Tiles<M>& t, LookState<M>& w, i64 tile, i64 j0, i64 n) {
    using C = typename M::C;
    const Args& a = t.a;
    C* s = t.scores;
    if (!score(t, w.k, w.q, tile, j0, n, s)) return false;
    if (a.normalizer == VARIATIONAL) add_noise(a, w.k, j0, n, s);
    if (a.top || a.entropy)
        __builtin_memcpy(t.dense, s, n * w.k.ld * sizeof(C));  // a key is visible if its score is not −∞
    if (is_hard(a.normalizer)) {
        one_hot(w.k, w.row_stats, j0, n, s);
    } else {
        weights_from_scores(t, w.k, w.row_stats, j0, n, s);
    }
    if (a.bad)
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < w.k.n; ++i) s[j * w.k.ld + i] += stat<C>(a, w.k.b, w.k.h, POISON)[w.k.query[i]];
    for (i64 j = 0; w.k.n < w.k.ld && j < n; ++j)
        for (i64 i = w.k.n; i < w.k.ld; ++i) s[j * w.k.ld + i] = 0;
    return true;
}

template <class M> static void keep_top(Tiles<M>& t, LookState<M>& w, i64 j0, i64 n) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    i64 top = t.a.top, ld = w.k.ld;
    for (i64 j = 0; j < n; ++j)
        for (i64 i = 0; i < ld; i += W) {
            Vec<C> p = load(t.scores + j * ld + i);
            auto better = (p > load(w.top + (top - 1) * ld + i)) & (load(t.dense + j * ld + i) != -C(__builtin_inf()));
            if (!any(better)) continue;
            for (i64 l = i; l < i + W; ++l) {
                if (!better[l - i]) continue;
                i64 place = top - 1;
                for (; place > 0 && w.top[(place - 1) * ld + l] < p[l - i]; --place) {
                    w.top[place * ld + l] = w.top[(place - 1) * ld + l];
                    w.top_keys[place * ld + l] = w.top_keys[(place - 1) * ld + l];
                }
                w.top[place * ld + l] = p[l - i];
                w.top_keys[place * ld + l] = (Int<C>)(j0 + j);
            }
        }
}

// Adds the sums and maxima of the current column to the cells of the map.
template <class M> static void flush(const Args& a, LookState<M>& w, i64 split, i64 column) {
    using C = typename M::C;
    i64 plane = ((w.k.b * a.heads + w.k.h) * a.splits + split) * a.map_rows * a.map_columns;
    for (i64 i = 0; i < w.k.n; ++i) {
        i64 cell = plane + w.row[i] * a.map_columns + column;
        C &sum = ((C*)a.map_sum)[cell], &largest = ((C*)a.map_max)[cell];
        sum += w.sum[i];
        if (w.column_max[i] > largest || w.column_max[i] != w.column_max[i]) largest = w.column_max[i];
    }
    for (i64 i = 0; i < w.k.ld; ++i) w.sum[i] = w.column_max[i] = 0;
}

template <class M> static void look_step(Tiles<M>& t, LookState<M>& w, i64 split, i64 tile, i64 tile_keys) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    i64 j0 = max(tile, k.low), end = min(tile + tile_keys, k.high);
    if (j0 >= end) return;
    j0 = begin_of_pair(tile, j0);
    i64 n = end - j0, ld = k.ld;
    if (!weights_of(t, w, tile, j0, n)) return;
    const C* s = t.scores;
    for (i64 i = 0; i < ld && (a.entropy || a.reach); i += W) {
        Vec<C> entropy = load(w.entropy + i), reach = load(w.reach + i), place;
        for (int l = 0; l < W; ++l) place[l] = C(k.query[i + l] + a.keys - a.queries);
        if (a.reach)
            for (i64 j = 0; j < n; ++j) {
                Vec<C> p = load(s + j * ld + i), far = place - C(j0 + j);
                reach = fma(p, maxv(far, -far), reach);
            }
        bool exponential = a.normalizer == SOFTMAX || a.normalizer == VARIATIONAL;
        if (a.entropy && exponential) {  // ln w is the score minus the log-sum-exp
            Vec<C> base = load(w.row_stats.top + i), rest = load(w.row_stats.rest + i), bits = {};
            for (i64 j = 0; j < n; ++j) {
                Vec<C> p = load(s + j * ld + i), x = fma(base - load(t.dense + j * ld + i), splat(t.exponent), rest);
                bits += p > C(0) ? p * x : p;
            }
            entropy = fma(bits, splat(C(0.693147180559945309417)), entropy);
        } else if (a.entropy) {
            for (i64 j = 0; j < n; ++j) {
                Vec<C> p = load(s + j * ld + i);
                entropy += p > C(0) ? -p * lnv(p) : p;
            }
        }
        store(w.entropy + i, entropy), store(w.reach + i, reach);
    }
    if (a.received)
        for (i64 j = 0; j < n; ++j) {
            Vec<C> sum = load(w.received + (j0 + j) * W);
            for (i64 i = 0; i < ld; i += W) sum += load(s + j * ld + i);
            store(w.received + (j0 + j) * W, sum);
        }
    if (a.map_sum)
        for (i64 j = 0; j < n;) {
            i64 column = (j0 + j) * a.map_columns / a.keys;
            i64 upto = min(n, ((column + 1) * a.keys + a.map_columns - 1) / a.map_columns - j0);
            for (i64 i = 0; i < ld; i += W) {
                Vec<C> sum = load(w.sum + i), largest = load(w.column_max + i);
                for (i64 r = j; r < upto; ++r) {
                    Vec<C> p = load(s + r * ld + i);
                    sum += p, largest = maxv(largest, p);
                }
                store(w.sum + i, sum), store(w.column_max + i, largest);
            }
            flush(a, w, split, column);
            j = upto;
        }
    if (a.top) keep_top(t, w, j0, n);
}

template <class M> static void finish_look(const Args& a, LookState<M>& w) {
    using C = typename M::C;
    for (i64 i = 0; i < w.k.n; ++i) {
        i64 row = (w.k.b * a.heads + w.k.h) * a.queries + w.k.query[i];
        if (a.entropy) ((C*)a.entropy)[row] = w.entropy[i];
        if (a.reach) ((C*)a.reach)[row] = w.reach[i];
        for (i64 r = 0; r < a.top; ++r) {
            bool none = w.top_keys[r * w.k.ld + i] < 0;
            ((C*)a.top_weights)[row * a.top + r] = none ? C(0) : w.top[r * w.k.ld + i];
            a.top_keys[row * a.top + r] = w.top_keys[r * w.k.ld + i];
        }
    }
}
}  // namespace REGARD_LEVEL
