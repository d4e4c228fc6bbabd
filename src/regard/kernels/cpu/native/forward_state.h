// The state of a block in the forward pass, and how queries are read and outputs are written.
#pragma once
#include "scores.h"

namespace REGARD_LEVEL {
constexpr i64 GROUP = 16;  // maximum number of blocks that use a tile of keys and values while it is in cache

template <class M> struct ForwardState {
    using C = typename M::C;
    Block<M> k;
    Query<M> q;
    C* output;               // [value width][lanes], not yet divided by the sum
    C *top, *total;          // the largest score (hard: with noise), and Σ exp(score − top)
    C *pivot, *second;       // hard normalizers: the largest score without noise, and its sum
    C *taken_score, *extra;  // hard normalizers: score of the chosen key; variational: divergence
    Int<C>* taken;           // hard normalizers: the chosen key
};

template <class M> static void allocate(ForwardState<M>& w, const Args& a, Arena& arena) {
    using C = typename M::C;
    i64 lanes = LANES<M>;
    w.q.transposed = arena.take<typename M::A>(units<M>(a.width) * lanes);
    w.q.square = arena.take<C>(lanes);
    w.output = arena.take<C>(a.value_width * lanes);
    w.top = arena.take<C>(lanes), w.total = arena.take<C>(lanes);
    w.pivot = arena.take<C>(lanes), w.second = arena.take<C>(lanes);
    w.taken_score = arena.take<C>(lanes), w.extra = arena.take<C>(lanes);
    w.taken = arena.take<Int<C>>(lanes);
}

template <class M> static void read_query(Tiles<M>& t, Block<M>& k, Query<M>& q, const bool* hidden = nullptr) {
    using C = typename M::C;
    read_transposed<M>(q.transposed, k, t.a.query, t.a.width, (char*)t.scratch, hidden);
    if constexpr (M::PAIR == 1)
        for (i64 i = 0; t.a.score == DISTANCE && i < k.ld; ++i)
            q.square[i] = -C(t.a.scale) * square(q.transposed + i, k.ld, t.a.width);
}

template <class M> static void begin_forward(ForwardState<M>& w, Tiles<M>& t) {
    using C = typename M::C;
    read_query(t, w.k, w.q);
    __builtin_memset(w.output, 0, t.a.value_width * w.k.ld * sizeof(C));
    for (i64 i = 0; i < w.k.ld; ++i) {
        w.top[i] = w.pivot[i] = w.taken_score[i] = -C(__builtin_inf());
        w.total[i] = w.second[i] = w.extra[i] = 0;
        w.taken[i] = -1;
    }
}

// Stores the statistics of one query for the backward pass and for looks; see `weights.h`.
template <class M>
INLINE void store_stats(const Args& a, const Block<M>& k, i64 lane, typename M::C top, typename M::C lse,
                        typename M::C rest, typename M::C own) {
    using C = typename M::C;
    if (!a.stats) return;
    i64 q = k.query[lane];
    stat<C>(a, k.b, k.h, TOP)[q] = top, stat<C>(a, k.b, k.h, LSE)[q] = lse, stat<C>(a, k.b, k.h, REST)[q] = rest;
    stat<C>(a, k.b, k.h, OWN)[q] = own, stat<C>(a, k.b, k.h, POISON)[q] = k.poison[lane];
}

// Writes [width][lanes] to the rows of a tensor with the queries' shape.
template <class M> static void write_transposed(Tiles<M>& t, const Block<M>& k, const Strided& to, i64 width,
                                                const typename M::C* from) {
    using C = typename M::C;
    if (to.stride[3] == 1 && to.dtype == (sizeof(C) == 8 ? F64 : F32) && k.consecutive) {
        transpose_back<C>((C*)at(to, k.b, k.h, k.query[0], 0), to.stride[2], from, k.ld, k.n, width);
        return;
    }
    transpose_back<C>(t.scratch, width, from, k.ld, k.n, width);
    for (i64 i = 0; i < k.n; ++i)
        write_row<C>(const_cast<char*>(at(to, k.b, k.h, k.query[i], 0)), to.dtype, to.stride[3], t.scratch + i * width,
                     width);
}

// Multiplies each lane of the output by its factor in `times` and writes the rows.
template <class M> static void write_output(Tiles<M>& t, const Block<M>& k, const typename M::C* output,
                                            const typename M::C* times) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    C* s = const_cast<C*>(output);
    for (i64 e = 0; e < a.value_width; ++e)
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> f = load(times + i);
            store(s + e * k.ld + i, f == C(0) ? Vec<C>{} : load(s + e * k.ld + i) * f);
        }
    write_transposed(t, k, a.output, a.value_width, s);
}
}  // namespace REGARD_LEVEL
