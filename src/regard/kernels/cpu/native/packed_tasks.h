// Packs a weight, and computes a linear layer with it: the functions that Python calls.
#pragma once
#include "packed.h"
#include "parallel.h"

namespace REGARD_LEVEL {
// Packs one panel. Outputs and inputs beyond the last are 0.
template <class K> static void pack_panel(const Packing& p, i64 panel) {
    const Packed& w = p.to;
    const i64 size = bytes_of(p.dtype), bytes = panel_bytes<K>(w.inputs);
    char* to = w.data + panel * bytes;
    __builtin_memset(to, 0, bytes);
    for (i64 j = 0; j < PANEL; ++j) {
        const i64 output = panel * PANEL + j;
        const char* row = p.from + output * p.stride * size;
        const i64 inputs = output < w.outputs ? w.inputs : 0;
        float scale = 1;
        if (w.scales) {
            float largest = 0;
            for (i64 k = 0; k < inputs; ++k) {
                const float x = __builtin_fabsf(read<float>(row + k * size, p.dtype));
                largest = x > largest ? x : largest;
            }
            w.scales[output] = largest / 127;
            scale = largest > 0 ? 127 / largest : 0;
        }
        const int n = (int)(j / WIDE<float>), lane = (int)(j % WIDE<float>);
        for (i64 k = 0; k < inputs; ++k) {
            float x = read<float>(row + k * size, p.dtype);
            if (w.scales) x = __builtin_rintf(x * scale);
            K::set(to + k / K::STEP * K::BYTES_A_STEP, (int)(k % K::STEP) * NV + n, lane, x);
        }
    }
}
static void pack_task(void* context, i64 panel, char*) {
    const Packing& p = *(const Packing*)context;
    for_kind(p.to.kind, [&](auto kind) { pack_panel<decltype(kind)>(p, panel); });
}
static void pack(const Packing& p) { parallel(panels(p.to.outputs), p.threads, pack_task, (void*)&p, 0); }

// The bytes of a packed weight: its data, or its scales.
static i64 packed_bytes(i64 outputs, i64 inputs, i64 kind, bool scales) {
    if (scales) return kind == I8 ? panels(outputs) * PANEL * (i64)sizeof(float) : 0;
    return for_kind(kind, [&](auto k) { return panels(outputs) * panel_bytes<decltype(k)>(inputs); });
}

struct LinearTasks {
    const PackedLinear& call;
    i64 together;  // panels of a task
};
static void linear_task(void* context, i64 task, char*) {
    const LinearTasks& t = *(const LinearTasks*)context;
    const PackedLinear& c = t.call;
    const i64 first = task * t.together, last = min(panels(c.weight.outputs), first + t.together);
    const float* bias = (const float*)c.bias;
    float* y = (float*)c.y;
    const i64 stride = c.y_stride;  // copies, which the compiler keeps in registers
    product(c.weight, (const float*)c.x, c.rows, c.x_stride, first, last,
            [=](i64 row, i64 output, f32v sum, i64 lanes) {
                if (bias) sum += load_part(bias + output, lanes);
                store_part(y + row * stride + output, sum, lanes);
            });
}
static void linear(const PackedLinear& c) {
    // A few tasks for each thread: they need not take the same time.
    const i64 all = panels(c.weight.outputs);
    const i64 together = panels_together(c.rows);
    LinearTasks tasks{c, round_up(max(together, all / (4 * c.threads)), together)};
    parallel((all + tasks.together - 1) / tasks.together, c.threads, linear_task, &tasks, 0);
}
}  // namespace REGARD_LEVEL
