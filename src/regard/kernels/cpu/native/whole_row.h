// The forward pass of top-k, sparsemax and entmax. Their weights depend on a threshold that all scores of a query
// determine, so all scores of a block are stored, Lk numbers per query.
#pragma once
#include "forward.h"
#include "weights.h"

namespace REGARD_LEVEL {
// The threshold τ of entmax with Newton's method on ‖[z − τ]₊‖_p − 1, p = 1 / (α − 1), from below (see entmax.py). It
// only increases, so keys that are below it in all lanes of the vector are removed from `rows`, the list of keys.
template <class C> static Vec<C> threshold(const C* z, i64 ld, i64 n, i64* rows, double alpha) {
    double power = 1 / (alpha - 1);
    Vec<C> t = splat(C(-1));
    i64 count = n;
    for (i64 j = 0; j < n; ++j) rows[j] = j;
    for (int step = 0; step < 100; ++step) {
        Vec<C> total = {}, slope = {};
        i64 left = 0;
        for (i64 r = 0; r < count; ++r) {
            i64 j = rows[r];
            Vec<C> part = load(z + j * ld) - t;
            auto in = part > C(0);
            if (!any(in)) continue;
            rows[left++] = j;
            part = in ? part : Vec<C>{};
            Vec<C> below = power == 2 ? part : power == 1 ? (in ? splat(C(1)) : Vec<C>{}) : powv(part, power - 1);
            slope += below;
            total = fma(below, part, total);
        }
        count = left;
        Vec<C> norm = power == 2 ? sqrtv(total) : power == 1 ? total : powv(total, alpha - 1);
        Vec<C> norm_slope = power == 2 ? norm : power == 1 ? splat(C(1)) : powv(norm, power - 1);
        Vec<C> moved = t + (norm - C(1)) * norm_slope / slope;
        if (!any(moved > t)) break;
        t = moved > t ? moved : t;
    }
    return t;
}

// Integers in the order of the scores; `kth` finds the k-th largest score of each lane with them, bit by bit.
template <class C> INLINE IVec<C> ordered(Vec<C> x) {
    IVec<C> b = bits_of<C>(x);
    return b ^ ((b >> (8 * sizeof(C) - 1)) & (Int<C>)(~((Int<C>)1 << (8 * sizeof(C) - 1))));
}
template <class C> static Vec<C> kth(const C* s, i64 ld, i64 n, i64 k) {
    if (n < k) return splat(-C(__builtin_inf()));
    constexpr int BITS = 8 * sizeof(C);
    using U = typename Lanes<C>::I;
    U result = splat_ints<C>((Int<C>)1 << (BITS - 1));
    for (int bit = BITS - 1; bit >= 0; --bit) {
        // The search starts at the smallest integer; the larger half has the sign bit 0, not 1.
        U trial = bit == BITS - 1 ? U{} : result | ((Int<C>)1 << bit);
        U count = {};
        for (i64 j = 0; j < n; ++j) count -= (U)(ordered<C>(load(s + j * ld)) >= trial);
        result = count >= splat_ints<C>((Int<C>)k) ? trial : result;
    }
    U bits = result ^ ((result >> (BITS - 1)) & (Int<C>)(~((Int<C>)1 << (BITS - 1))));
    return (Vec<C>)bits;
}

template <class M> static void forward_stored_rows(Tiles<M>& t, ForwardState<M>& w, typename M::C* buffer, i64* rows) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const C infinity = C(__builtin_inf());
    const C log2e = C(1.44269504088896340736);
    double alpha = number_of<C>(a, k.h);
    i64 low = k.low - k.low % KEYS, n = k.high - low;
    read_query(t, k, w.q);
    __builtin_memset(w.output, 0, a.value_width * k.ld * sizeof(C));
    for (i64 tile = low; tile < k.high; tile += KEYS) {
        i64 keys = min(KEYS, k.high - tile);
        C* s = buffer + (tile - low) * k.ld;
        t.key = along_width(t, a.key, a.width, t.key_buffer, k.b, k.hk, tile, keys);
        if (!score(t, k, w.q, tile, tile, keys, s))
            for (i64 i = 0; i < keys * k.ld; ++i) s[i] = -infinity;
    }
    alignas(64) C times[LANES<M>];
    for (i64 i = 0; i < k.ld; i += W) {
        C* s = buffer + i;
        Vec<C> top = splat(-infinity), nan = {};  // `nan` is NaN if a score is
        for (i64 j = 0; j < n; ++j) {
            Vec<C> x = load(s + j * k.ld);
            top = maxv(x, top);
            nan = x != x ? x : nan;
        }
        auto none = top == -infinity;
        Vec<C> base = none ? Vec<C>{} : top, sum = {}, lse, rest, own = {};
        if (a.normalizer == ENTMAX) {
            for (i64 j = 0; j < n; ++j) {
                Vec<C> z = (load(s + j * k.ld) - base) * C(alpha - 1);
                store(s + j * k.ld, z);
            }
            Vec<C> limit = threshold<C>(s, k.ld, n, rows, alpha);
            double power = 1 / (alpha - 1);
            for (i64 j = 0; j < n; ++j) {
                Vec<C> x = raised<C>(maxv(load(s + j * k.ld) - limit, Vec<C>{}), power);
                sum += x;
                store(s + j * k.ld, x);
            }
            lse = limit, rest = C(1) / sum + nan;
            store(times + i, (none ? Vec<C>{} : rest) + nan);
        } else {
            Vec<C> limit = kth<C>(s, k.ld, n, a.count);
            for (i64 j = 0; j < n; ++j) {
                Vec<C> x = load(s + j * k.ld);
                Vec<C> p = exp2v((x - base) * log2e);
                p = x < limit ? Vec<C>{} : p;
                sum += p;
                store(s + j * k.ld, p);
            }
            rest = lnv(sum) + nan, lse = none ? splat(-infinity) : top + rest, own = limit;
            store(times + i, (none ? Vec<C>{} : C(1) / sum) + nan);
        }
        for (i64 r = i; r < min(i + W, k.n); ++r) store_stats(a, k, r, top[r - i], lse[r - i], rest[r - i], own[r - i]);
    }
    C dropout_scale = C(1 / (1 - a.dropout));
    for (i64 i = 0; i < k.ld; ++i) times[i] *= dropout_scale;
    for (i64 tile = low; tile < k.high; tile += KEYS) {
        i64 keys = min(KEYS, k.high - tile);
        C* s = buffer + (tile - low) * k.ld;
        if (a.dropout > 0) apply_dropout(a, k, tile, keys, s);
        t.value = along_keys(t, a.value, a.value_width, t.value_buffer, k.b, k.hk, tile, keys);
        add_values(t, k, tile, tile, keys, pack_weights<M>(s, (typename M::A*)t.dense, keys, k.ld), w.output, nullptr);
    }
    write_output(t, k, w.output, times);
}
}  // namespace REGARD_LEVEL
