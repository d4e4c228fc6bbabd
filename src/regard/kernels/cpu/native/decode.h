// Decoding: few queries. The time is that of reading keys and values, so all query heads of a key head are processed
// together, and lanes are the width. Long keys are split over the threads (split-K); each part has a separate softmax,
// and the parts are combined at the end.
#pragma once
#include "block.h"
#include "few_queries.h"
#include "parallel.h"

namespace REGARD_LEVEL {
constexpr i64 ROWS_PER_STEP = 4;  // queries that use a key while it is in registers
constexpr i64 MAX_ROWS = 16;
constexpr i64 ON_ONE_THREAD = i64(1) << 16;  // bytes that are read before another thread has started
constexpr i64 FROM_MEMORY = i64(1) << 22;    // bytes of which more do not stay in a core's own caches

template <i64 DTYPE, class C> struct Decode {
    static constexpr int W = WIDE<C>;
    const Args& a;
    i64 group, rows, splits, keys;   // query heads of a key head, times queries; parts of the keys, and keys of a part
    C* parts;                        // (batch, key head, split, row): output, maximum, sum; null if there is one split
    Pieces<C> pieces, value_pieces;  // of keys, of values
    bool ahead;                      // whether rows are prefetched
    i64 count, together;             // key heads times splits, and how many of them are a task
    i64 part() const { return value_pieces.numbers() + 2; }

    // The state of a row: the largest score, and Σ exp(score − top).
    struct Row {
        i64 start, end;  // the interval of visible keys
        C top, total;
    };

    // Calls f(r, head, query) for each row r = (head − hk · group) · Lq + query of key head `hk`.
    template <class F> void each_row(i64 hk, F f) const {
        for (i64 r = 0, h = hk * group; r < rows; ++h)
            for (i64 i = 0; i < a.queries; ++i) f(r++, h, i);
    }

    // Replaces the scores of keys from `j0` by weights 2^(exponent · (score − top)), and those of hidden keys and
    // padding by 0; returns the factor that corrects earlier sums.
    C softmax(Row& row, C* s, i64 j0, i64 n) const {
        const C exponent = C(a.scale * 1.44269504088896340736), infinity = C(__builtin_inf());
        const i64 wide = round_up(n, W);
        const Int<C> low = (Int<C>)max(0, row.start - j0), high = (Int<C>)min(n, row.end - j0);
        if (n == 1 && low < high && row.top == -infinity && s[0] - s[0] == 0) {  // one key, with a finite score
            row.top = s[0], row.total = s[0] = 1;
            return 0;
        }
        Vec<C> largest = splat(-infinity), nan = {}, difference = {};
        for (i64 j = 0; j < wide; j += W) {
            Vec<C> x = load(s + j);
            IVec<C> key = lane_numbers<C>() + Int<C>(j);
            if (a.nonfinite) difference += key < Int<C>(n) ? x - x : Vec<C>{};
            const IVec<C> visible = (key >= low) & (key < high);
            x = visible ? x : splat(-infinity);
            store(s + j, x);
            largest = maxv(x, largest), nan = x != x ? x : nan;
        }
        if (a.nonfinite) report(difference);
        C top = largest_lane<C>(largest), before = row.top;
        row.top = top = top > before ? top : before;
        C base = top == -infinity ? C(0) : top;
        Vec<C> sum = nan;
        for (i64 j = 0; j < wide; j += W) {
            Vec<C> p = exp2v((load(s + j) - base) * exponent);
            sum += p;
            store(s + j, p);
        }
        C factor = before == -infinity ? C(0) : exp2v(splat((before - base) * exponent))[0];
        row.total = row.total * factor + sum_lanes<C>(sum);
        return factor;
    }

    template <int R> void step(i64 b, i64 hk, i64 j0, i64 n, bool first, const C* q, Row* row, C* s, C* o) const {
        dot_keys<DTYPE, C, R>(at(a.key, b, hk, j0, 0), a.key.stride[2] * bytes_of(DTYPE), n, pieces, ahead, q, s);
        C factor[R];
        for (int r = 0; r < R; ++r) factor[r] = softmax(row[r], s + r * CHUNK, j0, n);
        add_rows<DTYPE, C, R>(at(a.value, b, hk, j0, 0), a.value.stride[2] * bytes_of(DTYPE), n, value_pieces, ahead, s,
                              first ? nullptr : factor, o);
    }

    void report(Vec<C> nan) const {
        if (any(nan != nan)) __atomic_store_n(a.nonfinite, 1, __ATOMIC_RELAXED);
    }

    // Writes the output and the statistics of a row from its sums.
    void finish(i64 b, i64 h, i64 i, const C* o, C top, double total) const {
        const double infinity = __builtin_inf();
        const bool none = total == 0;
        C own = 0, times = none ? C(0) : C(1 / total);
        if (a.stats || a.sink) {
            double largest = (double)top * a.scale, log_sum = __builtin_log(total);
            C lse = none ? C(-infinity) : C(largest + log_sum);
            if (a.sink && !none) {
                log_sum = with_sink((double)((const C*)a.sink)[h] - largest, log_sum, own);
                times = C(__builtin_exp(-log_sum));
            }
            if (a.stats) {
                stat<C>(a, b, h, TOP)[i] = top, stat<C>(a, b, h, LSE)[i] = lse, stat<C>(a, b, h, REST)[i] = C(log_sum);
                stat<C>(a, b, h, OWN)[i] = own, stat<C>(a, b, h, POISON)[i] = 0;
            }
        }
        Vec<C> nan = write_pieces<DTYPE, C>(const_cast<char*>(at(a.output, b, h, i, 0)), o, times, value_pieces);
        if (a.nonfinite) report(nan);
    }

    // One split of one key head. The numbers are counted up: to divide each `number` would take longer than a few keys.
    struct Part {
        i64 number, split, hk, b;
        void next(const Decode& d) {
            ++number;
            if (++split < d.splits) return;
            split = 0;
            if (++hk == d.a.key_heads) hk = 0, ++b;
        }
    };

    // Neighbours are a task together: a thread finds in its caches what it prefetched while it computed the one before.
    static void run(void* context, i64 task, char* memory) {
        const Decode& d = *(const Decode*)context;
        const i64 first = task * d.together, end = min(d.count, first + d.together), head = first / d.splits;
        Part own{first, first % d.splits, head % d.a.key_heads, head / d.a.key_heads};
        for (; own.number < end; own.next(d)) d.run_part(own, memory);
    }
    // The keys of one split for the rows of one key head.
    void run_part(const Part& own, char* memory) const {
        const i64 split = own.split, hk = own.hk, b = own.b;
        const i64 ldq = pieces.numbers(), ldo = value_pieces.numbers();
        Arena arena{memory, 0, 0};
        C *q = arena.take<C>(rows * ldq), *o = arena.take<C>(rows * ldo), *s = arena.take<C>(ROWS_PER_STEP * CHUNK);
        Row row[MAX_ROWS];
        i64 low = a.keys, high = 0;
        each_row(hk, [&](i64 r, i64 h, i64 i) {
            read_pieces<DTYPE, C>(q + r * ldq, at(a.query, b, h, i, 0), pieces);
            i64 start = a.start.at ? max(0, *(const i64*)at(a.start, b, h, i, 0)) : 0,
                end = a.end.at ? min(a.keys, *(const i64*)at(a.end, b, h, i, 0)) : a.keys;
            if (start < end) low = min(low, start), high = max(high, end);
            row[r] = {start, end, -C(__builtin_inf()), 0};
        });
        const i64 first = max(low, split * keys), last = min(high, (split + 1) * keys);
        if (first >= last) __builtin_memset(o, 0, rows * ldo * sizeof(C));
        for (i64 j0 = first; j0 < last; j0 += CHUNK) {
            i64 n = min(CHUNK, last - j0);
            for (i64 r = 0, left; (left = rows - r) > 0;) {
                const C* queries = q + r * ldq;
                C* sums = o + r * ldo;
                if (left >= 4) {
                    step<4>(b, hk, j0, n, j0 == first, queries, row + r, s, sums), r += 4;
                } else if (left >= 2) {
                    step<2>(b, hk, j0, n, j0 == first, queries, row + r, s, sums), r += 2;
                } else {
                    step<1>(b, hk, j0, n, j0 == first, queries, row + r, s, sums), r += 1;
                }
            }
        }
        if (!parts) {
            each_row(hk, [&](i64 r, i64 h, i64 i) { finish(b, h, i, o + r * ldo, row[r].top, (double)row[r].total); });
            return;
        }
        C* to = parts + own.number * rows * part();
        for (i64 r = 0; r < rows; ++r, to += part()) {
            __builtin_memcpy(to, o + r * ldo, ldo * sizeof(C));
            to[ldo] = row[r].top, to[ldo + 1] = row[r].total;
        }
    }

    // Combines the parts of one row.
    static void join(void* context, i64 task, char* memory) {
        const Decode& d = *(const Decode*)context;
        const Args& a = d.a;
        const i64 r = task % d.rows, b = task / d.rows / a.key_heads, hk = task / d.rows % a.key_heads;
        const i64 n = d.value_pieces.numbers(), apart = d.rows * d.part();
        const C* first = d.parts + ((b * a.key_heads + hk) * d.splits * d.rows + r) * d.part();
        C top = -C(__builtin_inf()), *o = (C*)memory;
        double total = 0;
        __builtin_memset(o, 0, n * sizeof(C));
        for (i64 s = 0; s < d.splits; ++s) top = first[s * apart + n] > top ? first[s * apart + n] : top;
        const double base = top == -C(__builtin_inf()) ? 0.0 : (double)top;
        for (i64 s = 0; s < d.splits; ++s) {
            const C* from = first + s * apart;
            if (from[n + 1] == 0) continue;
            double f = __builtin_exp(((double)from[n] - base) * a.scale);
            total += f * (double)from[n + 1];
            for (i64 e = 0; e < n; ++e) o[e] += C(f) * from[e];
        }
        d.finish(b, hk * d.group + r / a.queries, r % a.queries, o, top, total);
    }

    static void run_call(const Args& a) {
        const i64 group = a.heads / a.key_heads, rows = group * a.queries, heads = a.batch * a.key_heads;
        i64 splits = max(1, min((a.keys + 511) / 512, (4 * a.threads + heads - 1) / heads));
        i64 keys = round_up((a.keys + splits - 1) / splits, CHUNK);
        Pieces<C> pieces(a.width), value_pieces(a.value_width);
        i64 numbers = pieces.numbers(), value_numbers = value_pieces.numbers();
        Buffer buffer(splits > 1 ? heads * splits * rows * (value_numbers + 2) * sizeof(C) : 0);
        const i64 read = heads * a.keys * (a.width + a.value_width) * bytes_of(DTYPE);
        const i64 threads = read > ON_ONE_THREAD ? a.threads : 1;
        const i64 all = heads * splits, together = threads == 1 ? all : max(1, min(16, all / (8 * threads)));
        Decode d{a, group, rows, splits, keys, (C*)buffer.at, pieces, value_pieces, read > FROM_MEMORY, all, together};
        size_t bytes = (rows * (numbers + value_numbers) + ROWS_PER_STEP * CHUNK + 64) * sizeof(C);
        parallel((all + together - 1) / together, threads, run, &d, bytes);
        if (splits > 1)
            parallel(heads * rows, heads * rows * a.value_width > 65536 ? a.threads : 1, join, &d,
                     value_numbers * sizeof(C) + 64);
    }
};

// Whether this file runs the call. More queries than a vector has lanes are faster in tiles, whose lanes are queries.
template <class C> static bool is_few_queries(const Args& a) {
    i64 rows = a.heads / a.key_heads * a.queries;
    bool plain = a.score == DOT && a.normalizer == SOFTMAX && a.scale > 0 && !a.softcap && !a.bias.at && !a.relative &&
                 !a.visible.at && !a.layout.at && !a.bad && !a.extra && !(a.dropout > 0);
    return plain && rows <= MAX_ROWS && a.queries <= WIDE<C> && has_pieces<C>(a.dtype, a.width) &&
           has_pieces<C>(a.dtype, a.value_width) && a.query.stride[3] == 1 && a.key.stride[3] == 1 &&
           a.value.stride[3] == 1;
}

static bool decodes(const Args& a) {
    return a.dtype != F64 && is_few_queries<float>(a);  // as in lanes_are_width
}

static bool decode(const Args& a) {
    if (!decodes(a)) return false;
    if (a.dtype == F32) Decode<F32, float>::run_call(a);
    if (a.dtype == BF16) Decode<BF16, float>::run_call(a);
    if (a.dtype == F16) Decode<F16, float>::run_call(a);
    return true;
}
}  // namespace REGARD_LEVEL
