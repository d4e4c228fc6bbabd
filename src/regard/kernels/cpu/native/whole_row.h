// Top-k, sparsemax and entmax: what a row's weights are hangs on all of its scores, so a block's scores are held whole,
// Lk numbers a query, and searched for the threshold.
#pragma once
#include "forward.h"
#include "weights.h"

namespace REGARD_LEVEL {
// The threshold τ of entmax by Newton's method on ‖[z − τ]₊‖_p − 1, p = 1 / (α − 1), from below: it rises step by step,
// so keys that fall below it in all lanes of the vector are done with; `rows` lists the others. (entmax.py says why.)
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
        Vec<C> bend = power == 2 ? norm : power == 1 ? splat(C(1)) : powv(norm, power - 1);
        Vec<C> moved = t + (norm - C(1)) * bend / slope;
        if (!any(moved > t)) break;
        t = moved > t ? moved : t;
    }
    return t;
}

// The k-th largest of each lane, bit by bit of numbers that are ordered as the scores are.
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
        // The sign's bit is turned: the smallest number has none.
        U trial = bit == BITS - 1 ? U{} : result | ((Int<C>)1 << bit);
        U count = {};
        for (i64 j = 0; j < n; ++j) count -= (U)(ordered<C>(load(s + j * ld)) >= trial);
        result = count >= splat_ints<C>((Int<C>)k) ? trial : result;
    }
    U back = result ^ ((result >> (BITS - 1)) & (Int<C>)(~((Int<C>)1 << (BITS - 1))));
    return (Vec<C>)back;
}

template <class M> static void buffered(Tiles<M>& t, ForwardState<M>& w, typename M::C* buffer, i64* rows) {
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
        Vec<C> top = splat(-infinity), nan = {};  // `nan` is not a number where a score is none
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
        for (i64 r = i; r < min(i + W, k.n); ++r) leave(a, k, r, top[r - i], lse[r - i], rest[r - i], own[r - i]);
    }
    C kept = C(1 / (1 - a.dropout));
    for (i64 i = 0; i < k.ld; ++i) times[i] *= kept;
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
