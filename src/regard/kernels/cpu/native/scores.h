// One tile of scores, [keys][lanes]: score, softcap, bias and mask, in the order of the definition.
#pragma once
#include "additive.h"
#include "operands.h"

namespace REGARD_LEVEL {
enum Seen { NOTHING, SOME, EVERYTHING };

// Reads the boolean mask and the layout of the keys [j0, j0 + n) into t.mask; intervals are applied separately.
template <class M> static Seen read_mask(Tiles<M>& t, const Block<M>& k, i64 j0, i64 n) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    if (!a.visible.at && !a.layout.at) return EVERYTHING;
    if (a.layout.at) {
        for (i64 j = 0; j < n; ++j) {
            C* row = t.mask + j * k.ld;
            if (j && (j0 + j) / a.block == (j0 + j - 1) / a.block) {
                __builtin_memcpy(row, row - k.ld, k.ld * sizeof(C));
                continue;
            }
            for (i64 i = 0; i < k.ld; ++i)
                row[i] =
                    i && k.query[i] / a.block == k.query[i - 1] / a.block
                        ? row[i - 1]
                        : C(*(const unsigned char*)at(a.layout, k.b, k.h, k.query[i] / a.block, (j0 + j) / a.block));
        }
    }
    if (a.visible.at) {
        C* to = a.layout.at ? t.dense : t.mask;
        read_dense<M>(to, a.visible, k, j0, n, t.scratch);
        for (i64 i = 0; a.layout.at && i < n * k.ld; ++i) t.mask[i] *= to[i];
    }
    Vec<C> largest = Vec<C>{}, smallest = splat(C(1));
    for (i64 i = 0; i < n * k.ld; i += W) {
        Vec<C> v = load(t.mask + i);
        largest = maxv(largest, v);
        smallest = -maxv(-smallest, -v);
    }
    if (!any(largest > C(0))) return NOTHING;
    return any(smallest == C(0)) ? SOME : EVERYTHING;
}

// |x|², for the part of a distance that is not a product.
template <class C> INLINE C square(const C* x, i64 step, i64 n) {
    C total = 0;
    for (i64 e = 0; e < n; ++e) total += x[e * step] * x[e * step];
    return total;
}

// The queries of a block as the scores need them.
template <class M> struct Query {
    typename M::A* transposed;  // [width][lanes]
    typename M::C* square;      // −scale · |q|²
};

// Computes the scores of `n` keys from `j0` in `s`, −∞ for keys that a lane does not see. `tile` is the first key of
// the tile that t.key points to. False if no lane sees any of the keys.
template <class M> static bool score(Tiles<M>& t, Block<M>& k, const Query<M>& q, i64 tile, i64 j0, i64 n,
                                     typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Seen seen = read_mask(t, k, j0, n);
    if (seen == NOTHING) return false;
    i64 size = n * k.ld;
    if (a.score == ADDITIVE) {
        if constexpr (M::PAIR == 1)
            (lanes_are_width(t) ? additive_few<M> : additive<M>)(t, k, q.transposed, j0 - tile, n, s);
    } else {
        gemm<M, false>(n, k.nv, t.units, t.key.at + (j0 - tile) * t.key.row, t.key.row, t.key.step, q.transposed, k.ld,
                       s, k.ld);
        if (a.score == DISTANCE) {
            if constexpr (M::PAIR == 1)
                for (i64 j = 0; j < n; ++j) {
                    C of_key =
                        -C(a.scale) * square((const C*)t.key.at + (j0 - tile + j) * t.key.row, t.key.step, a.width);
                    for (i64 i = 0; i < k.ld; i += W)
                        store(s + j * k.ld + i,
                              fma(load(s + j * k.ld + i), splat(C(2 * a.scale)), load(q.square + i) + of_key));
                }
        } else if (!t.unscaled && a.scale != 1) {
            for (i64 i = 0; i < size; i += W) store(s + i, load(s + i) * C(a.scale));
        }
    }
    if (a.softcap) {
        C cap = C(a.softcap), part = C(1 / a.softcap);
        for (i64 i = 0; i < size; i += W) {
            Vec<C> y = tanhv<true>(load(s + i) * part);
            store(s + i, y * cap);
            if (t.slope) store(t.slope + i, C(1) - y * y);
        }
    }
    if (a.bias.at && a.bias.stride[2] == 0 && a.bias.stride[3] == 0) {
        C shift = read<C>(at(a.bias, k.b, k.h, 0, 0), a.bias.dtype);
        for (i64 i = 0; i < size; i += W) store(s + i, load(s + i) + shift);
    } else if (a.bias.at) {
        read_dense<M>(t.dense, a.bias, k, j0, n, t.scratch);
        for (i64 i = 0; i < size; i += W) store(s + i, load(s + i) + load(t.dense + i));
    }
    if (a.relative) {
        if (k.consecutive) {
            for (i64 j = 0; j < n; ++j) {
                const C* row = t.relative + a.keys - 1 - (j0 + j) + k.query[0];
                for (i64 i = 0; i < k.ld; i += W) store(s + j * k.ld + i, load(s + j * k.ld + i) + load(row + i));
            }
        } else {
            for (i64 j = 0; j < n; ++j)
                for (i64 i = 0; i < k.ld; ++i) s[j * k.ld + i] += t.relative[a.keys - 1 - (j0 + j) + k.query[i]];
        }
    }
    bool inside = j0 >= k.inner && j0 + n <= k.outer;
    if (!inside || seen == SOME || a.bad) {
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W) {
                auto visible = in_interval(k, i, j0 + j);
                if (seen == SOME) visible &= load(t.mask + j * k.ld + i) != C(0);
                store(s + j * k.ld + i, visible ? load(s + j * k.ld + i) : splat(-C(__builtin_inf())));
                if (a.bad && a.bad[(k.b * a.key_heads + k.hk) * a.keys + j0 + j])
                    store(k.poison + i, visible ? splat(C(__builtin_nan(""))) : load(k.poison + i));
            }
    }
    return true;
}
}  // namespace REGARD_LEVEL
