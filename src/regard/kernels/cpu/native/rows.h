// Operations on the rows of a matrix that are several passes over memory in PyTorch on a CPU, with their gradients:
// GELU, RMSNorm and cross-entropy. A task has a fixed number of rows, and sums over rows are added up in the order of
// the tasks, so results do not depend on the number of threads.
#pragma once
#include "load.h"
#include "parallel.h"
#include "vmath.h"

namespace REGARD_LEVEL {
constexpr int W = WIDE<float>;
INLINE f32v lanes_below(i64 n, f32v x) {  // 0 from lane n on
    for (i64 i = n; i < W; ++i) x[i] = 0;
    return x;
}

constexpr i64 ELEMENTS = 1 << 13, NORM_ROWS = 32, ENTROPY_ROWS = 16;  // of a task

template <class T> static void gelu_task(void* context, i64 task, char*) {
    const Rows& r = *(const Rows*)context;
    i64 from = task * ELEMENTS, n = min(ELEMENTS, r.rows * r.width - from);
    const T* x = (const T*)r.at[0] + from;
    T* to = (T*)r.at[1] + from;
    for (i64 i = 0; i < n; i += W) store_narrow(to + i, gelu_value(load_wide(x + i, n - i)), n - i);
}
template <class T> static void gelu_backward_task(void* context, i64 task, char*) {
    const Rows& r = *(const Rows*)context;
    i64 from = task * ELEMENTS, n = min(ELEMENTS, r.rows * r.width - from);
    const T *x = (const T*)r.at[0] + from, *grad = (const T*)r.at[1] + from;
    T* to = (T*)r.at[2] + from;
    for (i64 i = 0; i < n; i += W)
        store_narrow(to + i, gelu_slope(load_wide(x + i, n - i)) * load_wide(grad + i, n - i), n - i);
}

// Σ f(i) over the vectors of a row.
template <class F> INLINE float sum_row(i64 width, F f) {
    f32v sum{}, other{};
    i64 i = 0;
    for (; i + 2 * W <= width; i += 2 * W) sum += f(i, W), other += f(i + W, W);
    for (; i < width; i += W) sum += lanes_below(width - i, f(i, width - i));
    return sum_lanes<float>(sum + other);
}
INLINE float root(float x) { return __builtin_sqrtf(x); }

// Where a task adds up the gradient of a vector over its rows; all of them are added up to tensor 5.
INLINE float* sums_of(const Rows& r, i64 task) { return (float*)r.at[6] + task * r.width; }
static void add_up(const Rows& r, i64 tasks) {
    float* to = (float*)r.at[5];
    __builtin_memcpy(to, sums_of(r, 0), r.width * sizeof(float));
    for (i64 task = 1; task < tasks; ++task) {
        const float* from = sums_of(r, task);
        for (i64 i = 0; i < r.width; ++i) to[i] += from[i];
    }
}

// RMSNorm of rows: 0 x, 1 weight, 2 the result, 3 the factor of each row. `number`: added to the mean square.
template <class T> static void norm_task(void* context, i64 task, char*) {
    const Rows& r = *(const Rows*)context;
    const float* weight = (const float*)r.at[1];
    i64 width = r.width;
    for (i64 row = task * NORM_ROWS; row < min(r.rows, (task + 1) * NORM_ROWS); ++row) {
        const T* x = (const T*)r.at[0] + row * width;
        T* to = (T*)r.at[2] + row * width;
        float square = sum_row(width, [&](i64 i, i64 n) {
            f32v value = load_wide(x + i, n);
            return value * value;
        });
        float scale = 1.0f / root(square / width + (float)r.number);
        ((float*)r.at[3])[row] = scale;
        for (i64 i = 0; i < width; i += W) {
            i64 n = width - i;
            store_narrow(to + i, load_wide(x + i, n) * scale * load_wide(weight + i, n), n);
        }
    }
}

// Its gradient: 0 x, 1 weight, 2 the gradient of the result, 3 that of x, 4 the factor of each row, 5 the gradient of
// the weight.
template <class T> static void norm_backward_task(void* context, i64 task, char*) {
    const Rows& r = *(const Rows*)context;
    const float* weight = (const float*)r.at[1];
    i64 width = r.width;
    float* to_weight = sums_of(r, task);
    __builtin_memset(to_weight, 0, width * sizeof(float));
    for (i64 row = task * NORM_ROWS; row < min(r.rows, (task + 1) * NORM_ROWS); ++row) {
        const T *x = (const T*)r.at[0] + row * width, *grad = (const T*)r.at[2] + row * width;
        T* to = (T*)r.at[3] + row * width;
        float scale = ((const float*)r.at[4])[row];
        float along = sum_row(width, [&](i64 i, i64 n) {
            return load_wide(grad + i, n) * load_wide(weight + i, n) * (load_wide(x + i, n) * scale);
        });
        along /= width;
        for (i64 i = 0; i < width; i += W) {
            i64 n = width - i;
            f32v unit = load_wide(x + i, n) * scale, g = load_wide(grad + i, n);
            store_narrow(to_weight + i, fma(g, unit, load_wide(to_weight + i, n)), n);
            store_narrow(to + i, (g * load_wide(weight + i, n) - unit * along) * scale, n);
        }
    }
}

// Cross-entropy of the softmax of rows, with smoothed targets: 0 the logits without bias, which the gradient replaces,
// 1 bias, 2 int64 target of each row, 3 double loss of each row, 5 the gradient of the bias. `number`: ε of the
// smoothing. The thread's memory is one row.
template <class T> static void entropy_task(void* context, i64 task, char* memory) {
    const Rows& r = *(const Rows*)context;
    const float* bias = (const float*)r.at[1];
    i64 width = r.width;
    float *to_bias = sums_of(r, task), *own = (float*)memory;
    float even = (float)(r.number / (double)width);
    __builtin_memset(to_bias, 0, width * sizeof(float));
    for (i64 row = task * ENTROPY_ROWS; row < min(r.rows, (task + 1) * ENTROPY_ROWS); ++row) {
        T* logits = (T*)r.at[0] + row * width;
        i64 label = ((const i64*)r.at[2])[row];
        f32v top = splat(-__builtin_inff()), total{};
        i64 i = 0;
        for (; i + W <= width; i += W) {
            f32v x = load_wide(logits + i) + load(bias + i);
            top = maxv(x, top), total += x;
            store(own + i, x);
        }
        float largest = -__builtin_inff(), sum = sum_lanes<float>(total);
        for (int lane = 0; lane < W; ++lane) largest = top[lane] > largest ? top[lane] : largest;
        for (; i < width; ++i) {
            own[i] = load_wide(logits + i, 1)[0] + bias[i];
            largest = own[i] > largest ? own[i] : largest;
            sum += own[i];
        }
        float at_label = own[label];
        constexpr float LOG2E = 1.4426950408889634f;
        float weights = sum_row(width, [&](i64 j, i64 n) {
            f32v e = exp2v((load_wide(own + j, n) - largest) * LOG2E);
            store_narrow(own + j, e, n);
            return e;
        });
        double lse = (double)largest + __builtin_log((double)weights);
        ((double*)r.at[3])[row] = lse - (1 - r.number) * (double)at_label - r.number * (double)sum / (double)width;
        float scale = 1.0f / weights;
        own[label] += (float)(r.number - 1) * weights;
        for (i64 j = 0; j < width; j += W) {
            i64 n = width - j;
            f32v g = fma(load_wide(own + j, n), splat(scale), splat(-even));
            store_narrow(to_bias + j, load_wide(to_bias + j, n) + g, n);
            store_narrow(logits + j, g, n);
        }
    }
}

static void work_on_rows(const Rows& r) {
    using Task = void (*)(void*, i64, char*);
    constexpr Task TASKS[][2] = {
        {gelu_task<float>, gelu_task<uint16_t>},       {gelu_backward_task<float>, gelu_backward_task<uint16_t>},
        {norm_task<float>, norm_task<uint16_t>},       {norm_backward_task<float>, norm_backward_task<uint16_t>},
        {entropy_task<float>, entropy_task<uint16_t>},
    };
    i64 size = r.kind < RowKind::NORM ? ELEMENTS : r.kind < RowKind::ENTROPY ? NORM_ROWS : ENTROPY_ROWS;
    i64 count = r.kind < RowKind::NORM ? r.rows * r.width : r.rows, tasks = (count + size - 1) / size;
    size_t memory = r.kind == RowKind::ENTROPY ? r.width * sizeof(float) : 0;
    bool has_sums = r.kind == RowKind::NORM_BACKWARD || r.kind == RowKind::ENTROPY;
    Buffer sums(has_sums ? tasks * r.width * sizeof(float) : 0);
    Rows call = r;
    call.at[6] = sums.at;
    parallel(tasks, r.threads, TASKS[(i64)r.kind][r.dtype == BF16], &call, memory);
    if (has_sums) add_up(call, tasks);
}
}  // namespace REGARD_LEVEL
