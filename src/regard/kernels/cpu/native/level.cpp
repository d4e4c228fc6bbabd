// Everything of one instruction set: REGARD_LEVEL names it, the compiler's flags say what it may use. No header of the C++
// library is included here: what it would define inline could be merged with another level's, and run where it can't.
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include "args.h"
#include "parallel.h"

#define QUOTED(x) #x
#define NAME(x) QUOTED(x)

namespace REGARD_LEVEL {
#include "simd.h"
#include "vmath.h"
#include "gemm.h"
#include "load.h"
#include "block.h"
#include "scores.h"
#include "forward.h"
#include "weights.h"
#include "buffered.h"
#include "back.h"
#include "descend.h"
#include "additive_back.h"
#include "backward.h"
#include "look.h"
#include "decode.h"
#include "drop.h"

// Blocks of one head; a task takes a few that stand beside each other.
template <class M> struct Cut {
    i64 blocks, group, groups, tasks;
};
template <class M> static Cut<M> cut(const Args& a, i64 queries) {
    i64 blocks = (queries + LANES<M> - 1) / LANES<M>, all = blocks * a.batch * a.heads;
    i64 group = most(1, least(GROUP, all / (4 * a.threads)));
    i64 groups = (blocks + group - 1) / group;
    return {blocks, group, groups, groups * a.batch * a.heads};
}

// Memory is what short heads wait for, so while one is computed, the next is asked for: most likely that of the task as many
// on as there are threads.
template <class M> static i64 next_short_head(const Args& a, i64 task, i64 heads) {
    i64 next = task + a.threads;
    return a.keys <= KEYS && a.queries <= LANES<M> && next < a.batch * heads ? next : -1;
}

template <class M> struct ForwardMemory {
    using C = typename M::C;
    Tiles<M> t;
    Walk<M> w[GROUP];
    C* held;
    i64* rows;
    ForwardMemory(const Args& a, Arena& arena, i64 group) : t(tiles<M>(a, arena, false)), held(nullptr), rows(nullptr) {
        for (i64 g = 0; g < group; ++g) lay(w[g], a, arena);
        if (a.normalizer == ENTMAX || a.normalizer == TOPK) {
            held = arena.take<C>((round_up(a.keys, KEYS) + KEYS) * LANES<M>);
            rows = arena.take<i64>(a.keys + KEYS);
        }
    }
};

template <class M> struct Forward {
    const Args& a;
    Cut<M> c;
    static void run(void* context, i64 task, char* memory) {
        const Forward& f = *(const Forward*)context;
        const Args& a = f.a;
        i64 heads = a.batch * a.heads, group = f.c.groups - 1 - task / heads, b = task % heads / a.heads, h = task % heads % a.heads;
        i64 first = group * f.c.group, count = least(f.c.group, f.c.blocks - first), low = a.keys, high = 0;
        bool whole_rows = a.normalizer == ENTMAX || a.normalizer == TOPK;
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        ForwardMemory<M> m(a, arena, whole_rows ? 1 : f.c.group);
        if (i64 next = next_short_head<M>(a, task, a.heads); next >= 0) {
            i64 its = next / a.heads, head = next % a.heads, key_head = head / (a.heads / a.key_heads);
            ask(a.query, its, head, a.queries, a.width);
            ask(a.key, its, key_head, a.keys, a.width), ask(a.value, its, key_head, a.keys, a.value_width);
        }
        begin_head(m.t, h);
        for (i64 g = 0; g < count; ++g) {
            i64 from = (first + g) * LANES<M>;
            Walk<M>& w = m.w[whole_rows ? 0 : g];
            begin(w.k, a, b, h, from, least(LANES<M>, a.queries - from), nullptr);
            if (whole_rows) {
                buffered(m.t, w, m.held, m.rows);
                continue;
            }
            begin_walk(w, m.t);
            low = least(low, w.k.low), high = most(high, w.k.high);
        }
        if (whole_rows) return;
        i64 hk = h / (a.heads / a.key_heads);
        for (i64 tile = low - low % KEYS; tile < high; tile += KEYS) {
            i64 n = least(KEYS, high - tile);
            m.t.key = along_width(m.t, a.key, a.width, m.t.key_held, b, hk, tile, n);
            m.t.value = along_keys(m.t, a.value, a.value_width, m.t.value_held, b, hk, tile, n);
            for (i64 g = 0; g < count; ++g) step(m.t, m.w[g], tile, n);
        }
        for (i64 g = 0; g < count; ++g) finish(m.t, m.w[g]);
    }
};

template <class M> static void forward_as(const Args& a) {
    Forward<M> f{a, cut<M>(a, a.queries)};
    Arena measure{nullptr, 0, 0};
    ForwardMemory<M> m(a, measure, f.c.group);
    parallel(f.c.tasks, a.threads, Forward<M>::run, &f, measure.used + 64);
}

template <class M> struct BackMemory {
    using C = typename M::C;
    Tiles<M> t;
    Back<M> w[GROUP];
    C* g;
    typename M::A* rounded;
    Sums<M> sums;
    BackMemory(const Args& a, Arena& arena, bool sums_here) : t(tiles<M>(a, arena, true)) {
        for (i64 i = 0; i < least(GROUP, (a.queries + LANES<M> - 1) / LANES<M>); ++i) lay(w[i], a, arena);
        g = arena.take<C>(KEYS * LANES<M>);
        rounded = arena.take<typename M::A>(M::PAIR == 2 ? KEYS * LANES<M> : 0);
        sums = {nullptr, nullptr, whole<C>(a.width), whole<C>(a.value_width), 0};
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
    C* parts;        // of the splits: keys' gradients, then values'
    bool in_place;   // the first split's are added up where they are wanted
    i64 part() const { return a.keys * (whole<C>(a.width) + whole<C>(a.value_width)); }

    static void walk_group(BackMemory<M>& m, const Args& a, i64 b, i64 h, i64 first, i64 count, i64 stride, bool only_bias) {
        i64 low = a.keys, high = 0, hk = h / (a.heads / a.key_heads);
        Tiles<M>& t = m.t;
        begin_head(t, h);
        for (i64 i = 0; i < count; ++i) {
            i64 from = (first + i * stride) * LANES<M>;
            begin(m.w[i].k, a, b, h, from, least(LANES<M>, a.queries - from), nullptr);
            begin_back(m.w[i], t);
            low = least(low, m.w[i].k.low), high = most(high, m.w[i].k.high);
        }
        bool foresees = a.normalizer == ENTMAX || a.normalizer == GUMBEL || a.normalizer == STRAIGHT_THROUGH;
        for (int pass = foresees ? 0 : 1; pass < 2; ++pass) {
            for (i64 tile = low - low % KEYS; tile < high; tile += KEYS) {
                i64 n = least(KEYS, high - tile);
                t.key = along_width(t, a.key, a.width, t.key_held, b, hk, tile, n);
                t.value = along_width(t, a.value, a.value_width, t.value_held, b, hk, tile, n);
                t.mixing = M::PAIR == 2 ? along_keys(t, a.key, a.width, t.mixing_held, b, hk, tile, n) : t.key;
                for (i64 i = 0; i < count; ++i) back_step(t, m.w[i], m.sums, tile, n, m.g, m.rounded, only_bias && pass ? 2 : pass);
            }
            for (i64 i = 0; !pass && i < count; ++i) foreseen(a, m.w[i]);
        }
        for (i64 i = 0; !only_bias && i < count; ++i) finish_back(t, m.w[i]);
    }

    static void run(void* context, i64 task, char* memory) {
        const Backward& f = *(const Backward*)context;
        const Args& a = f.a;
        i64 split = task % a.splits, b = task / a.splits / a.key_heads, hk = task / a.splits % a.key_heads;
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        bool here = f.in_place && split == 0;
        BackMemory<M> m(a, arena, !f.parts && !here);
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
            i64 its = next / a.key_heads, head = next % a.key_heads;
            ask(a.key, its, head, a.keys, a.width), ask(a.value, its, head, a.keys, a.value_width);
            for (i64 h = head * heads; h < (head + 1) * heads; ++h) {
                ask(a.query, its, h, a.queries, a.width);
                ask(a.output, its, h, a.queries, a.value_width), ask(a.grad_output, its, h, a.queries, a.value_width);
            }
        }
        for (i64 h = hk * heads; h < (hk + 1) * heads; ++h)
            // A split takes every so many blocks, so that a causal mask gives each as much.
            for (i64 first = split; first < f.blocks; first += a.splits * GROUP)
                walk_group(m, a, b, h, first, least(GROUP, (f.blocks - first + a.splits - 1) / a.splits), a.splits, false);
        if (!here && !f.parts) f.write_rows(m.sums.key, b, hk, 0, a.keys);
    }

    // The first split adds up in place where it can; the others, or all of them, have parts.
    C* part_of(i64 head, i64 split) const {
        i64 first = in_place ? 1 : 0;
        return parts + (head * (a.splits - first) + split - first) * part();
    }
    // Rows of one sum to the gradients.
    void write_rows(const C* sums, i64 b, i64 hk, i64 from, i64 to) const {
        i64 key_row = whole<C>(a.width), value_row = whole<C>(a.value_width);
        C scale = C(M::PAIR == 2 ? product_scale(a) : 1.0);
        for (i64 j = from; j < to; ++j) {
            C* key = const_cast<C*>(sums) + j * key_row;
            for (i64 e = 0; scale != 1 && e < key_row; ++e) key[e] *= scale;
            write_row<C>(const_cast<char*>(at(a.grad_key, b, hk, j, 0)), a.grad_key.dtype, a.grad_key.stride[3], key, a.width);
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
        i64 b = head / a.key_heads, hk = head % a.key_heads, to = least(a.keys, from + ROWS);
        i64 key_row = whole<C>(a.width), value_row = whole<C>(a.value_width);
        C* key = f.in_place ? (C*)at(a.grad_key, b, hk, 0, 0) : f.part_of(head, 0);
        C* value = f.in_place ? (C*)at(a.grad_value, b, hk, 0, 0) : key + a.keys * key_row;
        for (i64 s = 1; s < a.splits; ++s) {
            const C* part = f.part_of(head, s);
            add(key + from * key_row, part + from * key_row, (to - from) * key_row);
            add(value + from * value_row, part + a.keys * key_row + from * value_row, (to - from) * value_row);
        }
        if (!f.in_place) f.write_rows(key, b, hk, from, to);
    }
    // A dense gradient that batches or heads share: one task owns some queries of it and goes through all of them.
    static void run_shared(void* context, i64 task, char* memory) {
        const Backward& f = *(const Backward*)context;
        const Args& a = f.a;
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        BackMemory<M> m(a, arena, false);
        for (i64 b = 0; b < a.batch; ++b)
            for (i64 h = 0; h < a.heads; ++h) walk_group(m, a, b, h, task, 1, 1, true);
    }
};

template <class M> static void backward_as(const Args& a) {
    using C = typename M::C;
    Backward<M> f{a, (a.queries + LANES<M> - 1) / LANES<M>, nullptr, false};
    bool as_rows = M::PAIR == 1 && a.grad_key.dtype == (sizeof(C) == 8 ? F64 : F32) && a.width % WIDE<C> == 0 &&
                   a.value_width % WIDE<C> == 0;  // the gradients are made contiguous
    f.in_place = as_rows;
    i64 tasks = a.batch * a.key_heads * a.splits;
    if (a.splits > 1) f.parts = (C*)borrow((as_rows ? tasks - a.batch * a.key_heads : tasks) * f.part() * sizeof(C));
    Arena measure{nullptr, 0, 0};
    BackMemory<M> m(a, measure, !f.parts && !f.in_place);
    parallel(tasks, a.threads, Backward<M>::run, &f, measure.used + 64);
    if (f.parts) {
        parallel(a.batch * a.key_heads * ((a.keys + Backward<M>::ROWS - 1) / Backward<M>::ROWS), a.threads, Backward<M>::add_parts, &f, 0);
        give_back(f.parts);
    }
    if (a.grad_bias_kind == SHARED || a.grad_prior_kind == SHARED)
        parallel(f.blocks, a.threads, Backward<M>::run_shared, &f, measure.used + 64);
}

template <class M> struct LookMemory {
    using C = typename M::C;
    Tiles<M> t;
    Glance<M> w[GROUP];
    C* received;
    LookMemory(const Args& a, Arena& arena, bool receives) : t(tiles<M>(a, arena, false)), received(nullptr) {
        i64 rows = a.weights ? a.chosen_query_count : a.queries;
        for (i64 g = 0; g < least(GROUP, (rows + LANES<M> - 1) / LANES<M>); ++g) lay(w[g], a, arena);
        if (receives) received = arena.take<C>((a.keys + KEYS) * WIDE<C>);
    }
};

template <class M> struct Looking {
    const Args& a;
    i64 blocks;
    // (batch, head, split): the split's blocks, and what they add up to.
    static void run(void* context, i64 task, char* memory) {
        using C = typename M::C;
        constexpr int W = WIDE<C>;
        const Looking& f = *(const Looking*)context;
        const Args& a = f.a;
        i64 split = task % a.splits, b = task / a.splits / a.heads, h = task / a.splits % a.heads, hk = h / (a.heads / a.key_heads);
        Arena arena{memory, 0, 0};
        [[maybe_unused]] TilesInUse in_use;
        LookMemory<M> m(a, arena, a.received);
        begin_head(m.t, h);
        if (a.received) __builtin_memset(m.received, 0, (a.keys + KEYS) * W * sizeof(C));
        for (i64 first = split; first < f.blocks; first += a.splits * GROUP) {
            i64 count = least(GROUP, (f.blocks - first + a.splits - 1) / a.splits), low = a.keys, high = 0;
            for (i64 g = 0; g < count; ++g) {
                i64 from = (first + g * a.splits) * LANES<M>;
                begin(m.w[g].k, a, b, h, from, least(LANES<M>, a.queries - from), nullptr);
                begin_glance(m.w[g], m.t);
                m.w[g].received = m.received;
                low = least(low, m.w[g].k.low), high = most(high, m.w[g].k.high);
            }
            for (i64 tile = low - low % KEYS; tile < high; tile += KEYS) {
                i64 n = least(KEYS, high - tile);
                m.t.key = along_width(m.t, a.key, a.width, m.t.key_held, b, hk, tile, n);
                for (i64 g = 0; g < count; ++g) look_step(m.t, m.w[g], split, tile, n);
            }
            for (i64 g = 0; g < count; ++g) finish_glance(a, m.w[g]);
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
        Glance<M>& w = m.w[0];
        begin(w.k, a, b, h, from, least(LANES<M>, a.chosen_query_count - from), a.chosen_queries);
        begin_glance(w, m.t);
        C* out = (C*)a.weights + ((b * a.heads + h) * a.chosen_query_count + from) * a.chosen_key_count;
        for (i64 c = 0; c < a.chosen_key_count; ++c) {
            // A run of keys that stand beside each other, within one tile; what no lane sees is 0.
            i64 j0 = a.chosen_keys[c], n = 1;
            while (c + n < a.chosen_key_count && n < KEYS && a.chosen_keys[c + n] == j0 + n) ++n;
            m.t.key = along_width(m.t, a.key, a.width, m.t.key_held, b, hk, j0, n);
            bool some = weights_of(m.t, w, j0, j0, n);
            for (i64 i = 0; i < w.k.n; ++i)
                for (i64 j = 0; j < n; ++j) out[i * a.chosen_key_count + c + j] = some ? m.t.scores[j * w.k.ld + i] : C(0);
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

// In pairs of bfloat16 where the processor multiplies them and the score is a product; otherwise in float32 or float64.
#if defined(__AVX512BF16__)
#define EACH(what)                                                             \
    if (a.dtype == F64) return what##_as<Double>(a);                           \
    if (a.dtype == BF16 && a.score == DOT) return what##_as<Brain>(a);         \
    what##_as<Float>(a);
#else
#define EACH(what)                                   \
    if (a.dtype == F64) return what##_as<Double>(a); \
    what##_as<Float>(a);
#endif
static void forward(const Args& a) {
    if (decode(a)) return;
    EACH(forward)
}
static void backward(const Args& a) { EACH(backward) }
static void look(const Args& a) { EACH(look) }

// Products and sums a second of one thread that does nothing else, all in registers: the limit that shares are told of.
template <class M> static double products(i64 times) {
    using C = typename M::C;
    Vec<C> sum[24];
    for (int n = 0; n < 24; ++n) sum[n] = all(C(n));  // no two alike, or the compiler would have one do for both
    Vec<typename M::A> x = broadcast<typename M::A>((typename M::A)1), y = x;
    for (i64 i = 0; i < times; ++i)
#pragma GCC unroll 24
        for (int n = 0; n < 24; ++n) sum[n] = M::fmadd(sum[n], x, y);
    Vec<C> total = sum[0];
    for (int n = 1; n < 24; ++n) total += sum[n];
    volatile C kept = total[0];
    (void)kept;
    return 2.0 * 24 * WIDE<C> * M::PAIR * (double)times;
}
static double peak(i64 dtype, i64 times) {
    if (dtype == F64) return products<Double>(times);
#if defined(__AVX512BF16__)
    if (dtype == BF16) return products<Brain>(times);
#endif
    return products<Float>(times);
}
}  // namespace REGARD_LEVEL

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
extern const Level JOIN(level_, REGARD_LEVEL);
const Level JOIN(level_, REGARD_LEVEL) = {NAME(REGARD_LEVEL), REGARD_LEVEL::forward, REGARD_LEVEL::backward, REGARD_LEVEL::look,
                                          REGARD_LEVEL::drop, REGARD_LEVEL::peak};
