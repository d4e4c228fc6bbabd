// A step of decoding: one new token for each row, through all layers of a Transformer. Many rows are divided between
// the threads, each of which goes through all layers alone. Few rows are processed together, and each product and
// attention is divided.
#pragma once
#include "packed.h"
#include "parallel.h"
#include "step_attention.h"

namespace REGARD_LEVEL {
template <class F> static void divide(i64 tasks, i64 threads, size_t bytes, char* own, F f) {
    if (threads <= 1) {
        for (i64 task = 0; task < tasks; ++task) f(task, own);
        return;
    }
    auto run = [](void* context, i64 task, char* memory) { (*(F*)context)(task, memory); };
    parallel(tasks, threads, run, &f, bytes);
}

// What happens to the sums of a product, after the bias was added: nothing; they are added to what is there;
// activations.
enum After { PLAIN, ADDED, RELUED, GELUED };

// Rows that go through the layers together, with their memory.
struct StepRows {
    i64 first, count, threads;
    float *x, *y, *wide, *mixed;  // (count, dim), (count, dim), (count, widest product), (count, heads · width)
    char* scores;                 // of the attention of one row, if there is one thread
};

// `K` is the type of keys and values.
template <class K> struct Stepper {
    const StepModel& m;
    const StepCall& c;
    const i64 keys;  // scores of a head: of a cache or a memory, in full vectors

    static i64 widest(const StepModel& m) {
        i64 joined = (m.heads + 2 * m.key_heads) * m.width, inner = m.hidden * (m.activation == GATED ? 2 : 1);
        return max(joined, inner);
    }
    static StepRows take(const StepModel& m, Arena& arena, i64 count) {
        StepRows r{};
        r.count = count;
        r.x = arena.take<float>(count * m.dim), r.y = arena.take<float>(count * m.dim);
        r.wide = arena.take<float>(count * widest(m)), r.mixed = arena.take<float>(count * m.heads * m.width);
        return r;
    }
    static i64 longest_row(const StepModel& m, const StepCall& c) {
        i64 longest = 0;
        for (i64 row = 0; row < c.rows; ++row) {
            longest = max(longest, c.row[row].cached + 1 - c.row[row].first);
            if (m.cross) longest = max(longest, c.row[row].length);
        }
        return round_up(longest, 16);
    }
    size_t score_bytes() const { return m.heads * keys * sizeof(float); }

    // to = x · W + bias, then `after`.
    template <After AFTER>
    void linear(const StepRows& r, const StepProduct& p, const float* x, float* to, i64 apart) const {
        // Multiply-adds from which another thread pays. Up to four rows take the time of reading the weights.
        constexpr i64 WORK = 1 << 18;
        const Packed& w = p.weight;
        i64 all = panels(w.outputs), threads = max(r.count, 4) * w.inputs * w.outputs < WORK ? 1 : r.threads;
        i64 together = threads == 1 ? all : max(panels_together(r.count), all / (4 * threads));
        divide((all + together - 1) / together, threads, 0, nullptr, [&](i64 task, char*) {
            i64 first = task * together, last = min(all, first + together);
            product(w, x, r.count, w.inputs, first, last, [&](i64 row, i64 output, f32v y, i64 lanes) {
                float* at = to + row * apart + output;
                if (p.bias) y += load_part(p.bias + output, lanes);
                if constexpr (AFTER == ADDED) y += load_part(at, lanes);
                if constexpr (AFTER == RELUED) y = y > f32v{} ? y : f32v{};
                if constexpr (AFTER == GELUED) y = gelu_value(y);
                store_part(at, y, lanes);
            });
        });
    }

    // Calls f(i) for each row, on several threads if there are many.
    template <class F> void each_row(const StepRows& r, F f) const {
        constexpr i64 WORK = 1 << 15;  // numbers from which another thread pays
        i64 threads = r.count * m.dim < WORK ? 1 : r.threads, together = (r.count + 4 * threads - 1) / (4 * threads);
        divide((r.count + together - 1) / together, threads, 0, nullptr, [&](i64 task, char*) {
            for (i64 i = task * together, end = min(r.count, i + together); i < end; ++i) f(i);
        });
    }
    void normed(float* to, const float* x, const StepNorm& norm) const {
        normalize(to, x, norm, m.norm == RMS_NORM, m.dim);
    }

    // The input of a sublayer, and its output added to the residual stream.
    const float* enter(const StepRows& r, const StepNorm& norm) const {
        if (!m.pre) return r.x;
        each_row(r, [&](i64 i) { normed(r.y + i * m.dim, r.x + i * m.dim, norm); });
        return r.y;
    }
    void leave(const StepRows& r, const StepNorm& norm, const StepProduct& w, const float* from) const {
        linear<ADDED>(r, w, from, r.x, m.dim);
        if (!m.pre) each_row(r, [&](i64 i) { normed(r.x + i * m.dim, r.x + i * m.dim, norm); });
    }

    // Rotates the queries and keys of a row, which has them and its values side by side.
    void turn(float* q, i64 place) const {
        const float *own = m.own + place * m.turned, *other = m.other + place * m.turned;
        for (i64 h = 0; h < m.heads + m.key_heads; ++h) rotate(q + h * m.width, own, other, m.turned, m.interleaved);
    }

    K* cached_at(i64 layer, i64 values, i64 head) const {
        return (K*)c.cache + (((layer * 2 + values) * c.slots * m.key_heads) + head) * c.room * m.width;
    }

    // Rotates the queries and keys of a row, and writes its keys and values into the cache.
    void remember(const StepRows& r, i64 layer, i64 i) const {
        i64 row = r.first + i, queries = m.heads * m.width, width = m.key_heads * m.width;
        float* q = r.wide + i * (queries + 2 * width);
        if (m.own) turn(q, c.row[row].place);
        for (i64 h = 0; h < m.key_heads; ++h) {
            i64 at = (row * m.key_heads * c.room + c.row[row].cached) * m.width;
            write_keys(cached_at(layer, 0, h) + at, q + queries + h * m.width, m.width);
            write_keys(cached_at(layer, 1, h) + at, q + queries + width + h * m.width, m.width);
        }
    }

    void self_attention(const StepRows& r, i64 number) const {
        const StepLayer& layer = m.layers[number];
        i64 all = (m.heads + 2 * m.key_heads) * m.width, group = m.heads / m.key_heads;
        linear<PLAIN>(r, layer.joined, enter(r, layer.attend_norm), r.wide, all);
        for (i64 i = 0; i < r.count; ++i) remember(r, number, i);
        auto one = [&](i64 task, char* memory) {
            i64 i = task / m.key_heads, h = task % m.key_heads, row = r.first + i,
                beyond = m.key_heads * c.room * m.width;
            Slotted<K> past{cached_at(number, 0, h), c.slot + row * c.room, beyond, m.width}, values = past;
            values.at = cached_at(number, 1, h);
            attend_slotted(r.mixed + (i * m.heads + h * group) * m.width, r.wide + i * all + h * group * m.width, group,
                           past, values, c.row[row].first, c.row[row].cached + 1, (float)m.attend_scale, (float*)memory,
                           keys, nullptr, 0);
        };
        divide(r.count * m.key_heads, attention_threads(r), score_bytes(), r.scores, one);
        leave(r, layer.attend_norm, layer.attend_output, r.mixed);
    }

    void cross_attention(const StepRows& r, i64 number) const {
        const StepLayer& layer = m.layers[number];
        i64 all = m.heads * m.width;
        linear<PLAIN>(r, layer.cross_query, enter(r, layer.cross_norm), r.wide, all);
        bool shown = c.weights && number == m.shown;
        i64 together = shown ? m.heads : 1;  // heads of a task: all, if their weights are added up
        auto one = [&](i64 task, char* memory) {
            i64 i = task * together / m.heads, row = r.first + i;
            const StepRow& source = c.row[row];
            float* to = shown ? c.weights + row * c.weights_width : nullptr;
            for (i64 t = 0; to && t < c.weights_width; ++t) to[t] = 0;
            for (i64 h = task * together % m.heads, end = h + together; h < end; ++h) {
                const K* at = (const K*)source.memory + (number * 2 * m.heads + h) * source.room * m.width;
                Slotted<K> past{at, nullptr, 0, m.width};
                Slotted<K> values{at + m.heads * source.room * m.width, nullptr, 0, m.width};
                attend_slotted(r.mixed + i * all + h * m.width, r.wide + i * all + h * m.width, 1, past, values, 0,
                               source.length, (float)m.cross_scale, (float*)memory, keys, to, 1.0f / (float)m.heads);
            }
        };
        divide(r.count * m.heads / together, attention_threads(r), score_bytes(), r.scores, one);
        leave(r, layer.cross_norm, layer.cross_output, r.mixed);
    }

    i64 attention_threads(const StepRows& r) const {
        constexpr i64 WORK = 1 << 17;
        return r.count * m.heads * keys * m.width < WORK ? 1 : r.threads;
    }

    void feed_forward(const StepRows& r, const StepLayer& layer) const {
        bool gated = m.activation == GATED;
        i64 all = gated ? 2 * m.hidden : m.hidden;
        const float* x = enter(r, layer.feed_norm);
        if (m.activation == RELU) linear<RELUED>(r, layer.inner, x, r.wide, all);
        if (m.activation == GELU) linear<GELUED>(r, layer.inner, x, r.wide, all);
        if (gated) linear<PLAIN>(r, layer.inner, x, r.wide, all);
        if (gated)
            for (i64 i = 0; i < r.count; ++i) {
                gate_by_silu(r.wide + i * all, r.wide + i * all + m.hidden, m.hidden);
                if (i) __builtin_memmove(r.wide + i * m.hidden, r.wide + i * all, m.hidden * sizeof(float));
            }
        leave(r, layer.feed_norm, layer.outer, r.wide);
    }

    void through(const StepRows& r) const {
        for (i64 i = 0; i < r.count; ++i) {
            i64 row = r.first + i;
            StepRow& own = c.row[row];
            if (c.window) own.first = max(own.first, own.cached + 1 - c.window);
            c.slot[row * c.room + own.cached] = (int32_t)row;
            float* x = r.x + i * m.dim;
            const char* from = c.embedding + c.tokens[row] * m.dim * bytes_of(c.embedding_dtype);
            read_row(x, from, c.embedding_dtype, 1, m.dim);
            scale_and_add(x, (float)m.embedding_scale, m.positions ? m.positions + own.place * m.dim : nullptr, m.dim);
        }
        for (i64 number = 0; number < m.layer_count; ++number) {
            self_attention(r, number);
            if (m.cross) cross_attention(r, number);
            feed_forward(r, m.layers[number]);
        }
        for (i64 i = 0; i < r.count; ++i) ++c.row[r.first + i].cached, ++c.row[r.first + i].place;
        float* to = c.features ? c.features + r.first * m.dim : r.y;
        for (i64 i = 0; i < r.count; ++i) {
            if (m.ends_normed) {
                normed(to + i * m.dim, r.x + i * m.dim, m.last);
            } else {
                __builtin_memcpy(to + i * m.dim, r.x + i * m.dim, m.dim * sizeof(float));
            }
        }
        i64 outputs = m.output.weight.outputs;
        if (c.logits) linear<PLAIN>(r, m.output, to, c.logits + r.first * outputs, outputs);
    }

    static void run(const StepCall& c) {
        constexpr i64 FEW = 8;  // rows of a thread, from which it goes through the layers alone
        const StepModel& m = *c.model;
        Stepper s{m, c, longest_row(m, c)};
        if (c.threads > 1 && c.rows < FEW * c.threads) {
            Arena measured{nullptr, 0, 0};
            take(m, measured, c.rows);
            Buffer buffer(measured.used);
            Arena arena{buffer.at, 0, 0};
            StepRows r = take(m, arena, c.rows);
            r.threads = c.threads;
            Buffer scores(s.score_bytes());
            r.scores = scores.at;
            s.through(r);
            return;
        }
        i64 block = (c.rows + c.threads - 1) / c.threads, blocks = (c.rows + block - 1) / block;
        Arena measured{nullptr, 0, 0};
        take(m, measured, block);
        measured.take<char>(s.score_bytes());
        divide_rows(s, block, blocks, measured.used);
    }
    static void divide_rows(const Stepper& s, i64 block, i64 blocks, size_t bytes) {
        auto one = [&](i64 task, char* memory) {
            Arena arena{memory, 0, 0};
            StepRows r = take(s.m, arena, min(block, s.c.rows - task * block));
            r.first = task * block, r.threads = 1;
            r.scores = arena.take<char>(s.score_bytes());
            s.through(r);
        };
        using F = decltype(one);
        parallel(blocks, s.c.threads, [](void* f, i64 task, char* memory) { (*(F*)f)(task, memory); }, &one, bytes);
    }
};

static void step(const StepCall& c) {
    if (c.model->dtype == BF16) return Stepper<uint16_t>::run(c);
    Stepper<float>::run(c);
}
}  // namespace REGARD_LEVEL
