// How a look is divided into tasks: statistics by heads and parts of their queries, rows by blocks of the chosen
// queries.
#pragma once
#include "look.h"
#include "parallel.h"

namespace REGARD_LEVEL {
template <class M> struct LookMemory {
    using C = typename M::C;
    Tiles<M> t;
    LookState<M> w[GROUP];
    C* received;
    LookMemory(const Args& a, Arena& arena, bool receives) : t(tiles<M>(a, arena, false)), received(nullptr) {
        i64 rows = a.weights ? a.chosen_query_count : a.queries;
        for (i64 g = 0; g < min(GROUP, (rows + LANES<M> - 1) / LANES<M>); ++g) allocate(w[g], a, arena);
        if (receives) received = arena.take<C>((a.keys + KEYS) * WIDE<C>);
    }
};

template <class M> struct Looking {
    const Args& a;
    i64 blocks;
    // A task is (batch, head, split): the blocks of the split, with their sums.
    static void run(void* context, i64 task, char* memory) {
        using C = typename M::C;
        constexpr int W = WIDE<C>;
        const Looking& f = *(const Looking*)context;
        const Args& a = f.a;
        i64 split = task % a.splits, b = task / a.splits / a.heads, h = task / a.splits % a.heads,
            hk = h / (a.heads / a.key_heads);
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        LookMemory<M> m(a, arena, a.received);
        begin_head(m.t, h);
        if (a.received) __builtin_memset(m.received, 0, (a.keys + KEYS) * W * sizeof(C));
        for (i64 first = split; first < f.blocks; first += a.splits * GROUP) {
            i64 count = min(GROUP, (f.blocks - first + a.splits - 1) / a.splits), low = a.keys, high = 0;
            for (i64 g = 0; g < count; ++g) {
                i64 from = (first + g * a.splits) * LANES<M>;
                begin_block(m.w[g].k, a, b, h, from, min(LANES<M>, a.queries - from), nullptr);
                begin_look(m.w[g], m.t);
                m.w[g].received = m.received;
                low = min(low, m.w[g].k.low), high = max(high, m.w[g].k.high);
            }
            for (i64 tile = low - low % KEYS; tile < high; tile += KEYS) {
                i64 n = min(KEYS, high - tile);
                m.t.key = along_width(m.t, a.key, a.width, m.t.key_buffer, b, hk, tile, n);
                for (i64 g = 0; g < count; ++g) look_step(m.t, m.w[g], split, tile, n);
            }
            for (i64 g = 0; g < count; ++g) finish_look(a, m.w[g]);
        }
        C* out = a.received ? (C*)a.received + ((b * a.heads + h) * a.splits + split) * a.keys : nullptr;
        for (i64 j = 0; out && j < a.keys; ++j) out[j] = sum_lanes<C>(load(m.received + j * W));
    }
    // The weights of the chosen queries for the chosen keys.
    static void rows(void* context, i64 task, char* memory) {
        using C = typename M::C;
        const Looking& f = *(const Looking*)context;
        const Args& a = f.a;
        i64 b = task / f.blocks / a.heads, h = task / f.blocks % a.heads, hk = h / (a.heads / a.key_heads);
        i64 from = task % f.blocks * LANES<M>;
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        LookMemory<M> m(a, arena, false);
        begin_head(m.t, h);
        LookState<M>& w = m.w[0];
        begin_block(w.k, a, b, h, from, min(LANES<M>, a.chosen_query_count - from), a.chosen_queries);
        begin_look(w, m.t);
        C* out = (C*)a.weights + ((b * a.heads + h) * a.chosen_query_count + from) * a.chosen_key_count;
        for (i64 c = 0; c < a.chosen_key_count; ++c) {
            // Up to a tile of consecutive keys at a time; the weights are 0 if no lane sees them.
            i64 j0 = a.chosen_keys[c], n = 1;
            while (c + n < a.chosen_key_count && n < KEYS && a.chosen_keys[c + n] == j0 + n) ++n;
            m.t.key = along_width(m.t, a.key, a.width, m.t.key_buffer, b, hk, j0, n);
            bool visible = weights_of(m.t, w, j0, j0, n);
            for (i64 i = 0; i < w.k.n; ++i)
                for (i64 j = 0; j < n; ++j)
                    out[i * a.chosen_key_count + c + j] = visible ? m.t.scores[j * w.k.ld + i] : C(0);
            c += n - 1;
        }
    }
};

template <class M> static void look_as(const Args& a) {
    Looking<M> f{a, ((a.weights ? a.chosen_query_count : a.queries) + LANES<M> - 1) / LANES<M>};
    Arena measure{nullptr, 0, 0};
    LookMemory<M> m(a, measure, a.received);
    if (a.weights) {
        parallel(a.batch * a.heads * f.blocks, a.threads, Looking<M>::rows, &f, measure.used + 64);
    } else {
        parallel(a.batch * a.heads * a.splits, a.threads, Looking<M>::run, &f, measure.used + 64);
    }
}
}  // namespace REGARD_LEVEL
