// The backward pass of the additive score, which computes the tanh again for each query, key and dimension of the
// width.
#pragma once
#include "additive.h"
#include "backward_state.h"

namespace REGARD_LEVEL {
// The sums of the lanes of W vectors, as one vector.
template <class C> INLINE Vec<C> sums(Vec<C>* rows) {
    transpose_registers<C>(rows);
    Vec<C> total = rows[0];
    for (int i = 1; i < WIDE<C>; ++i) total += rows[i];
    return total;
}

// Of one head and tile: the vector v, its gradient in this split (null: not requested), and the keys.
template <class C> struct AdditiveParts {
    const C* vector;
    C* grad_vector;
    const C* key;
};
template <class M> INLINE AdditiveParts<typename M::C> additive_parts(const Tiles<M>& t, const Block<M>& k, i64 split,
                                                                      i64 first_key) {
    using C = typename M::C;
    const Args& a = t.a;
    C* grad = a.grad_vector ? (C*)a.grad_vector + ((k.b * a.heads + k.h) * a.splits + split) * a.width : nullptr;
    return {(const C*)a.vector + k.h * a.width, grad, (const C*)t.key.at + first_key * t.key.row};
}

template <class M> static void additive_back_few(Tiles<M>& t, BackwardState<M>& w, const Sums<M>& to, i64 tile, i64 j0,
                                                 i64 n, const typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const auto [vector, grad_vector, key] = additive_parts(t, k, to.split, j0 - tile);
    for (i64 i = 0; i < k.n; ++i)
        for (i64 e = 0; e < a.width; e += W) {
            i64 left = min(W, a.width - e);
            C query[W] = {}, grad[W];
            for (i64 l = 0; l < left; ++l) query[l] = ((const C*)w.q.transposed)[(e + l) * k.ld + i];
            Vec<C> x = load(query), v = load_part(vector + e, left), of_query = {}, of_vector = {};
            for (i64 j = 0; j < n; ++j) {
                Vec<C> h = tanhv(x + load_part(key + j * t.key.row + e, left)), d = splat(g[j * k.ld + i]);
                of_vector = fma(d, h, of_vector);
                Vec<C> r = fma(-d * h, h, d) * v;
                of_query += r;
                C* sum = to.key + (j0 + j) * to.key_row + e;
                store(sum, load(sum) + r);  // rows are padded to full vectors, and v is 0 in the padding
            }
            store(grad, of_query);
            for (i64 l = 0; l < left; ++l) w.grad[(e + l) * k.ld + i] += grad[l];
            if (grad_vector) store_part(grad_vector + e, load_part(grad_vector + e, left) + of_vector, left);
        }
}

// dv_e = Σ ds · tanh, dq_e = v_e Σ_j ds (1 − tanh²), dk_e = v_e Σ_i ds (1 − tanh²).
template <class M> static void additive_back(Tiles<M>& t, BackwardState<M>& w, const Sums<M>& to, i64 tile, i64 j0,
                                             i64 n, const typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const auto [vector, grad_vector, key] = additive_parts(t, k, to.split, j0 - tile);
    Vec<C> rows[KEYS];
    for (i64 e = 0; e < a.width; ++e) {
        Vec<C> of_vector = {};
        C v = vector[e];
        for (i64 j = 0; j < n; ++j) rows[j] = Vec<C>{};
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> x = load((const C*)w.q.transposed + e * k.ld + i), of_query = {};
            for (i64 j = 0; j < n; ++j) {
                Vec<C> h = tanhv(x + key[j * t.key.row + e * t.key.step]), d = load(g + j * k.ld + i);
                of_vector = fma(d, h, of_vector);
                Vec<C> r = fma(-d * h, h, d);
                of_query += r;
                rows[j] += r;
            }
            store(w.grad + e * k.ld + i, fma(of_query, splat(v), load(w.grad + e * k.ld + i)));
        }
        if (grad_vector) grad_vector[e] += sum_lanes<C>(of_vector);
        for (i64 j = 0; j < n; j += W) {
            for (i64 l = n - j; l < W; ++l) rows[j + l] = Vec<C>{};
            Vec<C> total = sums<C>(rows + j);
            for (i64 l = 0; l < min(W, n - j); ++l) to.key[(j0 + j + l) * to.key_row + e] += v * total[l];
        }
    }
}
}  // namespace REGARD_LEVEL
