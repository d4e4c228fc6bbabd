// The additive score (Bahdanau et al. 2015, arXiv:1409.0473): no product, but a tanh for each query, key and place of
// the width.
#pragma once
#include "block.h"
#include "tiles.h"

namespace REGARD_LEVEL {
// With few queries, as in a decoder's step, most lanes would be empty: lanes are the width then. Not in float64, where
// a step equals the full pass to the bit, by going the same way. Nor for top-k, whose rows are looked at, few at a
// time, by the threshold that the forward found: a score that is summed in another order could fall below it.
template <class M> INLINE bool along_the_width(const Tiles<M>& t, const Block<M>& k) {
    return sizeof(typename M::C) == 4 && 2 * k.n <= WIDE<typename M::C> && t.key.step == 1 && t.a.normalizer != TOPK;
}

template <class M> static void additive_few(Tiles<M>& t, const Block<M>& k, const typename M::C* query, i64 j0, i64 n,
                                            typename M::C* to) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    const C* vector = (const C*)a.vector + k.h * a.width;
    const C* key = (const C*)t.key.at + j0 * t.key.row;
    for (i64 i = 0; i < n * k.ld; i += W) store(to + i, Vec<C>{});
    for (i64 i = 0; i < k.n; ++i) {
        for (i64 e = 0; e < a.width; ++e) t.scratch[e] = query[e * k.ld + i];
        for (i64 j = 0; j < n; ++j) {
            Vec<C> sum = {};
            for (i64 e = 0; e < a.width; e += W) {
                i64 left = a.width - e;
                sum = fma(tanhv(load_part(t.scratch + e, left) + load_part(key + j * t.key.row + e, left)),
                          load_part(vector + e, left), sum);
            }
            to[j * k.ld + i] = sum_lanes<C>(sum);
        }
    }
}

// s_ij = v · tanh(q_i + k_j): the queries [width][lanes], the keys row by row.
template <class M> static void additive(Tiles<M>& t, const Block<M>& k, const typename M::C* query, i64 j0, i64 n,
                                        typename M::C* to) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    const C* vector = (const C*)a.vector + k.h * a.width;
    const C* key = (const C*)t.key.at + j0 * t.key.row;
    for (i64 i = 0; i < k.ld; i += W)
        for (i64 j = 0; j < n; ++j) {
            Vec<C> one = {}, two = {};
            const C* row = key + j * t.key.row;
            i64 e = 0;
            for (; e + 1 < a.width; e += 2) {
                one = fma(tanhv(load(query + e * k.ld + i) + row[e * t.key.step]), splat(vector[e]), one);
                two =
                    fma(tanhv(load(query + (e + 1) * k.ld + i) + row[(e + 1) * t.key.step]), splat(vector[e + 1]), two);
            }
            if (e < a.width) one = fma(tanhv(load(query + e * k.ld + i) + row[e * t.key.step]), splat(vector[e]), one);
            store(to + j * k.ld + i, one + two);
        }
}
}  // namespace REGARD_LEVEL
