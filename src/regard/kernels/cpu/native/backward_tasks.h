// How a backward pass is divided into tasks: one for each key head or, if there are few of them, for each part of its
// queries, whose sums are added at the end.
#pragma once
#include "backward.h"
#include "forward_tasks.h"
#include "parallel.h"

namespace REGARD_LEVEL {
template <class M> struct BackwardMemory {
    using C = typename M::C;
    Tiles<M> t;
    BackwardState<M> w[GROUP];
    C* g;
    typename M::A* rounded;
    Sums<M> sums;
    BackwardMemory(const Args& a, Arena& arena, bool sums_here) : t(tiles<M>(a, arena, true)) {
        for (i64 i = 0; i < min(GROUP, (a.queries + LANES<M> - 1) / LANES<M>); ++i) allocate(w[i], a, arena);
        g = arena.take<C>(KEYS * LANES<M>);
        rounded = arena.take<typename M::A>(M::PAIR == 2 ? KEYS * LANES<M> : 0);
        sums = {nullptr, nullptr, padded<C>(a.width), padded<C>(a.value_width), 0};
        if (sums_here) {
            sums.key = arena.take<C>(a.keys * (sums.key_row + sums.value_row));
            sums.value = sums.key + a.keys * sums.key_row;
        }
    }
};

template <class M> struct Backward {
    using C = typename M::C;
    const Args& a;
    i64 blocks;
    C* parts;       // the sums of each split: gradients of keys, then of values
    bool in_place;  // the first split accumulates directly in the result
    i64 part() const { return a.keys * (padded<C>(a.width) + padded<C>(a.value_width)); }

    static void group_backward(BackwardMemory<M>& m, const Args& a, i64 b, i64 h, i64 first, i64 count, i64 stride,
                               bool only_bias) {
        i64 low = a.keys, high = 0, hk = h / (a.heads / a.key_heads);
        Tiles<M>& t = m.t;
        begin_head(t, h);
        for (i64 i = 0; i < count; ++i) {
            i64 from = (first + i * stride) * LANES<M>;
            begin_block(m.w[i].k, a, b, h, from, min(LANES<M>, a.queries - from), nullptr);
            begin_backward(m.w[i], t);
            low = min(low, m.w[i].k.low), high = max(high, m.w[i].k.high);
        }
        for (int pass = needs_two_passes(a) ? 0 : 1; pass < 2; ++pass) {
            for (i64 tile = low - low % KEYS; tile < high; tile += KEYS) {
                i64 n = min(KEYS, high - tile);
                t.key = along_width(t, a.key, a.width, t.key_buffer, b, hk, tile, n);
                t.value = along_width(t, a.value, a.value_width, t.value_buffer, b, hk, tile, n);
                t.key_pairs = M::PAIR == 2 ? along_keys(t, a.key, a.width, t.key_pairs_buffer, b, hk, tile, n) : t.key;
                for (i64 i = 0; i < count; ++i)
                    backward_step(t, m.w[i], m.sums, tile, n, m.g, m.rounded, only_bias && pass ? 2 : pass);
            }
            for (i64 i = 0; !pass && i < count; ++i) finish_row_sums(a, m.w[i]);
        }
        for (i64 i = 0; !only_bias && i < count; ++i) finish_backward(t, m.w[i]);
    }

    static void run(void* context, i64 task, char* memory) {
        const Backward& f = *(const Backward*)context;
        const Args& a = f.a;
        i64 split = task % a.splits, b = task / a.splits / a.key_heads, hk = task / a.splits % a.key_heads;
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        bool here = f.in_place && split == 0;
        BackwardMemory<M> m(a, arena, !f.parts && !here);
        if (here) {
            m.sums.key = (C*)at(a.grad_key, b, hk, 0, 0), m.sums.value = (C*)at(a.grad_value, b, hk, 0, 0);
        } else if (f.parts) {
            m.sums.key = f.part_of(b * a.key_heads + hk, split), m.sums.value = m.sums.key + a.keys * m.sums.key_row;
        }
        m.sums.split = split;
        __builtin_memset(m.sums.key, 0, a.keys * m.sums.key_row * sizeof(C));
        __builtin_memset(m.sums.value, 0, a.keys * m.sums.value_row * sizeof(C));
        i64 heads = a.heads / a.key_heads;
        if (i64 next = a.splits == 1 ? next_short_head<M>(a, task, a.key_heads) : -1; next >= 0) {
            i64 next_b = next / a.key_heads, head = next % a.key_heads;
            prefetch(a.key, next_b, head, a.keys, a.width), prefetch(a.value, next_b, head, a.keys, a.value_width);
            for (i64 h = head * heads; h < (head + 1) * heads; ++h) {
                prefetch(a.query, next_b, h, a.queries, a.width);
                prefetch(a.output, next_b, h, a.queries, a.value_width),
                    prefetch(a.grad_output, next_b, h, a.queries, a.value_width);
            }
        }
        for (i64 h = hk * heads; h < (hk + 1) * heads; ++h)
            // A split takes every `splits`-th block, which balances the work under a causal mask.
            for (i64 first = split; first < f.blocks; first += a.splits * GROUP)
                group_backward(m, a, b, h, first, min(GROUP, (f.blocks - first + a.splits - 1) / a.splits), a.splits,
                               false);
        if (!here && !f.parts) f.write_rows(m.sums.key, b, hk, 0, a.keys);
    }

    // The memory of a split: all have one, except the first if it accumulates in place.
    C* part_of(i64 head, i64 split) const {
        i64 first = in_place ? 1 : 0;
        return parts + (head * (a.splits - first) + split - first) * part();
    }
    // Writes rows of the sums to the gradients.
    void write_rows(const C* sums, i64 b, i64 hk, i64 from, i64 to) const {
        i64 key_row = padded<C>(a.width), value_row = padded<C>(a.value_width);
        C scale = C(M::PAIR == 2 ? product_scale(a) : 1.0);
        for (i64 j = from; j < to; ++j) {
            C* key = const_cast<C*>(sums) + j * key_row;
            for (i64 e = 0; scale != 1 && e < key_row; ++e) key[e] *= scale;
            write_row<C>(const_cast<char*>(at(a.grad_key, b, hk, j, 0)), a.grad_key.dtype, a.grad_key.stride[3], key,
                         a.width);
            write_row<C>(const_cast<char*>(at(a.grad_value, b, hk, j, 0)), a.grad_value.dtype, a.grad_value.stride[3],
                         sums + a.keys * key_row + j * value_row, a.value_width);
        }
    }
    static void add(C* to, const C* from, i64 n) {
        for (i64 e = 0; e < n; ++e) to[e] += from[e];
    }
    static constexpr i64 ROWS = 256;
    static void add_parts(void* context, i64 task, char*) {
        const Backward& f = *(const Backward*)context;
        const Args& a = f.a;
        i64 pieces = (a.keys + ROWS - 1) / ROWS, head = task / pieces, from = task % pieces * ROWS;
        i64 b = head / a.key_heads, hk = head % a.key_heads, to = min(a.keys, from + ROWS);
        i64 key_row = padded<C>(a.width), value_row = padded<C>(a.value_width);
        C* key = f.in_place ? (C*)at(a.grad_key, b, hk, 0, 0) : f.part_of(head, 0);
        C* value = f.in_place ? (C*)at(a.grad_value, b, hk, 0, 0) : key + a.keys * key_row;
        for (i64 s = 1; s < a.splits; ++s) {
            const C* part = f.part_of(head, s);
            add(key + from * key_row, part + from * key_row, (to - from) * key_row);
            add(value + from * value_row, part + a.keys * key_row + from * value_row, (to - from) * value_row);
        }
        if (!f.in_place) f.write_rows(key, b, hk, from, to);
    }
    // A bias gradient that is shared by batches or heads: one task computes the entries of a block of queries, over all
    // batches and heads.
    static void run_shared(void* context, i64 task, char* memory) {
        const Backward& f = *(const Backward*)context;
        const Args& a = f.a;
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        BackwardMemory<M> m(a, arena, false);
        for (i64 b = 0; b < a.batch; ++b)
            for (i64 h = 0; h < a.heads; ++h) group_backward(m, a, b, h, task, 1, 1, true);
    }
};

template <class M> static void backward_as(const Args& a) {
    using C = typename M::C;
    bool as_rows = M::PAIR == 1 && a.grad_key.dtype == (sizeof(C) == 8 ? F64 : F32) && a.width % WIDE<C> == 0 &&
                   a.value_width % WIDE<C> == 0;  // the gradients are always contiguous
    Backward<M> f{.a = a, .blocks = (a.queries + LANES<M> - 1) / LANES<M>, .parts = nullptr, .in_place = as_rows};
    i64 tasks = a.batch * a.key_heads * a.splits;
    i64 parts = a.splits == 1 ? 0 : as_rows ? tasks - a.batch * a.key_heads : tasks;
    Buffer buffer(parts * f.part() * sizeof(C));
    f.parts = (C*)buffer.at;
    Arena measure{nullptr, 0, 0};
    BackwardMemory<M> m(a, measure, !f.parts && !f.in_place);
    parallel(tasks, a.threads, Backward<M>::run, &f, measure.used + 64);
    i64 pieces = (a.keys + Backward<M>::ROWS - 1) / Backward<M>::ROWS;
    if (f.parts) parallel(a.batch * a.key_heads * pieces, a.threads, Backward<M>::add_parts, &f, 0);
    if (a.grad_bias_kind == SHARED || a.grad_prior_kind == SHARED)
        parallel(f.blocks, a.threads, Backward<M>::run_shared, &f, measure.used + 64);
}
}  // namespace REGARD_LEVEL
