// All tokens of a batch through the layers of a Transformer together: of an encoder, or the prompts of a decoder.
#pragma once
#include "decode.h"
#include "forward_tasks.h"
#include "step.h"

namespace REGARD_LEVEL {
// `K` is the type of cached keys and values.
template <class K> struct Encoder {
    const EncodeCall& c;
    const StepModel& m;
    i64 rows, joined;  // tokens, and the numbers of queries, keys and values of one
    Encoder(const EncodeCall& call)
        : c(call), m(*call.model), rows(c.batch * c.length), joined((m.heads + 2 * m.key_heads) * m.width) {}

    // A part of the joined queries, keys and values, of all heads from number `first` on.
    Strided part(float* from, i64 first) const {
        return {(char*)(from + first), F32, {c.length * joined, m.width, joined, 1}};
    }
    void attend(const StepRows& r) const {
        i64 queries = m.heads * m.width, keys = m.key_heads * m.width;
        Args a{};
        a.batch = c.batch, a.heads = m.heads, a.key_heads = m.key_heads, a.queries = a.keys = c.length;
        a.width = a.value_width = m.width, a.dtype = F32, a.threads = c.threads, a.level = c.level;
        a.query = part(r.wide, 0), a.key = part(r.wide, queries), a.value = part(r.wide, queries + keys);
        a.output = {(char*)r.mixed, F32, {c.length * queries, m.width, queries, 1}};
        const bool several = (c.causal ? c.length : c.batch) > 1;
        a.end = {(char*)c.ends, F64, {several && !c.causal, 0, several && c.causal, 0}};
        a.scale = m.attend_scale, a.number = a.prior_scale = 1, a.block = a.splits = 1;
        if (!decode(a)) forward_as<Float>(a);
    }
    // Writes the keys and values of all tokens into the cache.
    void remember(const Stepper<K>& layers, const StepRows& r, i64 number) const {
        layers.each_row(r, [&](i64 i) {
            const float* from = r.wide + i * joined + m.heads * m.width;
            for (i64 h = 0; h < 2 * m.key_heads; ++h) {
                const i64 values = h / m.key_heads, slot = (number * 2 + values) * c.slots + i / c.length;
                K* to = (K*)c.cache + ((slot * m.key_heads + h % m.key_heads) * c.room + i % c.length) * m.width;
                write_keys(to, from + h * m.width, m.width);
            }
        });
    }
    void run() const {
        const StepCall none{};
        const Stepper<K> layers{m, none, 0};
        Arena measured{nullptr, 0, 0};
        Stepper<K>::take(m, measured, rows);
        Buffer buffer(measured.used);
        Arena arena{buffer.at, 0, 0};
        StepRows r = Stepper<K>::take(m, arena, rows);
        r.x = c.x, r.threads = c.threads;
        for (i64 number = 0; number < m.layer_count; ++number) {
            const StepLayer& layer = m.layers[number];
            layers.template linear<PLAIN>(r, layer.joined, layers.enter(r, layer.attend_norm), r.wide, joined);
            if (m.own) layers.each_row(r, [&](i64 i) { layers.turn(r.wide + i * joined, i % c.length); });
            if (c.cache) remember(layers, r, number);
            attend(r);
            layers.leave(r, layer.attend_norm, layer.attend_output, r.mixed);
            layers.feed_forward(r, layer);
        }
        if (m.ends_normed) layers.each_row(r, [&](i64 i) { layers.normed(r.x + i * m.dim, r.x + i * m.dim, m.last); });
        if (!c.logits) return;
        for (i64 b = 0; b < c.batch; ++b)
            __builtin_memcpy(r.y + b * m.dim, r.x + ((b + 1) * c.length - 1) * m.dim, m.dim * sizeof(float));
        StepRows last = r;
        last.count = c.batch;
        layers.template linear<PLAIN>(last, m.output, r.y, c.logits, m.output.weight.outputs);
    }
};

static void encode(const EncodeCall& c) {
    if (c.model->dtype == BF16) return Encoder<uint16_t>(c).run();
    Encoder<float>(c).run();
}
}  // namespace REGARD_LEVEL
