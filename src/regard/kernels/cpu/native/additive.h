// The additive score (Bahdanau et al. 2015, arXiv:1409.0473): not a matrix product, but one tanh for each query, key
// and dimension of the width.
#pragma once
#include "block.h"
#include "tiles.h"

namespace REGARD_LEVEL {
// Whether the lanes are the width instead of queries. With few queries, as in a decoding step, most lanes would
// otherwise be empty. Not in float64, where a decoding step must give the same bits as the full pass and therefore uses
// the same order of summation. The queries of the call are counted, not those of a block: a `View` computes a few rows
// again, and a score that is summed in another order differs by a rounding error, which is large beside a large score.
template <class M> INLINE bool lanes_are_width(const Tiles<M>& t) {
    return sizeof(typename M::C) == 4 && 2 * t.a.queries <= WIDE<typename M::C> && t.key.step == 1;
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

// s_ij = v · tanh(q_i + k_j), with queries [width][lanes] and keys row by row.
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
