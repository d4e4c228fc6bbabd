// How a forward pass is divided into tasks: each is a group of consecutive blocks of one head.
#pragma once
#include "forward.h"
#include "parallel.h"
#include "whole_row.h"

namespace REGARD_LEVEL {
// The number of blocks of a head, of blocks in a group, of groups of a head, and of tasks.
template <class M> struct Partition {
    i64 blocks, group, groups, tasks;
};
template <class M> static Partition<M> partition(const Args& a, i64 queries) {
    i64 blocks = (queries + LANES<M> - 1) / LANES<M>, total = blocks * a.batch * a.heads;
    i64 group = max(1, min(GROUP, total / (4 * a.threads)));
    i64 groups = (blocks + group - 1) / group;
    return {blocks, group, groups, groups * a.batch * a.heads};
}

// With short heads, the time is that of reading memory, so the tensors of the head that this thread probably computes
// next are prefetched: that of the task `threads` further on. Returns its index, or −1 if heads are not short or
// there is no such task.
template <class M> static i64 next_short_head(const Args& a, i64 task, i64 heads) {
    i64 next = task + a.threads;
    return a.keys <= KEYS && a.queries <= LANES<M> && next < a.batch * heads ? next : -1;
}

template <class M> struct ForwardMemory {
    using C = typename M::C;
    Tiles<M> t;
    ForwardState<M> w[GROUP];
    C* buffer;
    i64* rows;
    ForwardMemory(const Args& a, Arena& arena, i64 group)
        : t(tiles<M>(a, arena, false)), buffer(nullptr), rows(nullptr) {
        for (i64 g = 0; g < group; ++g) allocate(w[g], a, arena);
        if (a.normalizer == ENTMAX || a.normalizer == TOPK) {
            buffer = arena.take<C>((round_up(a.keys, KEYS) + KEYS) * LANES<M>);
            rows = arena.take<i64>(a.keys + KEYS);
        }
    }
};

template <class M> struct Forward {
    const Args& a;
    Partition<M> c;
    static void run(void* context, i64 task, char* memory) {
        const Forward& f = *(const Forward*)context;
        const Args& a = f.a;
        i64 heads = a.batch * a.heads, group = f.c.groups - 1 - task / heads, b = task % heads / a.heads,
            h = task % heads % a.heads;
        i64 first = group * f.c.group, count = min(f.c.group, f.c.blocks - first), low = a.keys, high = 0;
        bool whole_rows = a.normalizer == ENTMAX || a.normalizer == TOPK;
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        ForwardMemory<M> m(a, arena, whole_rows ? 1 : f.c.group);
        if (i64 next = next_short_head<M>(a, task, a.heads); next >= 0) {
            i64 next_b = next / a.heads, head = next % a.heads, key_head = head / (a.heads / a.key_heads);
            prefetch(a.query, next_b, head, a.queries, a.width);
            prefetch(a.key, next_b, key_head, a.keys, a.width),
                prefetch(a.value, next_b, key_head, a.keys, a.value_width);
        }
        begin_head(m.t, h);
        for (i64 g = 0; g < count; ++g) {
            i64 from = (first + g) * LANES<M>;
            ForwardState<M>& w = m.w[whole_rows ? 0 : g];
            begin_block(w.k, a, b, h, from, min(LANES<M>, a.queries - from), nullptr);
            if (whole_rows) {
                forward_stored_rows(m.t, w, m.buffer, m.rows);
                continue;
            }
            begin_forward(w, m.t);
            low = min(low, w.k.low), high = max(high, w.k.high);
        }
        if (whole_rows) return;
        i64 hk = h / (a.heads / a.key_heads);
        for (i64 tile = low - low % KEYS; tile < high; tile += KEYS) {
            i64 n = min(KEYS, high - tile);
            m.t.key = along_width(m.t, a.key, a.width, m.t.key_buffer, b, hk, tile, n);
            m.t.value = along_keys(m.t, a.value, a.value_width, m.t.value_buffer, b, hk, tile, n);
            for (i64 g = 0; g < count; ++g) forward_step(m.t, m.w[g], tile, n);
        }
        for (i64 g = 0; g < count; ++g) finish_forward(m.t, m.w[g]);
    }
};

template <class M> static void forward_as(const Args& a) {
    Forward<M> f{a, partition<M>(a, a.queries)};
    Arena measure{nullptr, 0, 0};
    ForwardMemory<M> m(a, measure, f.c.group);
    parallel(f.c.tasks, a.threads, Forward<M>::run, &f, measure.used + 64);
}
}  // namespace REGARD_LEVEL
