// What a step of decoding does to single rows: normalization, activation, rotation by positions.
#pragma once
#include "load.h"
#include "step_args.h"
#include "vmath.h"

namespace REGARD_LEVEL {
// Calls f(e, n) for each vector of a row: its first number, and how many numbers are left.
template <class F> INLINE void each_vector(i64 width, F f) {
    for (i64 e = 0; e < width; e += WIDE<float>) f(e, width - e);
}

// to = norm(x); `to` may be `x`.
static void normalize(float* to, const float* x, const StepNorm& norm, bool rms, i64 width) {
    float mean = 0;
    if (!rms) {
        f32v sum = {};
        each_vector(width, [&](i64 e, i64 n) { sum += load_part(x + e, n); });
        mean = sum_lanes<float>(sum) / (float)width;
    }
    f32v squares = {};
    each_vector(width, [&](i64 e, i64 n) {
        f32v d = load_part(x + e, n) - mean;
        if (n < WIDE<float>)
            for (int i = (int)n; i < WIDE<float>; ++i) d[i] = 0;
        squares = fma(d, d, squares);
    });
    float variance = sum_lanes<float>(squares) / (float)width;
    f32v factor = splat(1.0f / __builtin_sqrtf(variance + (float)norm.eps));
    each_vector(width, [&](i64 e, i64 n) {
        f32v y = (load_part(x + e, n) - mean) * factor;
        if (norm.weight) y = y * load_part(norm.weight + e, n);
        if (norm.bias) y = y + load_part(norm.bias + e, n);
        store_part(to + e, y, n);
    });
}

// x · scale + other, in the place of x; `other` may be null.
static void scale_and_add(float* x, float scale, const float* other, i64 width) {
    each_vector(width, [&](i64 e, i64 n) {
        f32v y = load_part(x + e, n) * scale;
        store_part(x + e, other ? y + load_part(other + e, n) : y, n);
    });
}

// silu(x) · gate = x / (1 + exp(−x)) · gate, in the place of x.
static void gate_by_silu(float* x, const float* gate, i64 width) {
    each_vector(width, [&](i64 e, i64 n) {
        f32v v = load_part(x + e, n);
        store_part(x + e, v / (1.0f + exp2v(v * -1.44269504088896f)) * load_part(gate + e, n), n);
    });
}

// Rotates the first `turned` features of a head, as `regard.nn.Rotary`: x · own + partner · other.
static void rotate(float* x, const float* own, const float* other, i64 turned, bool interleaved) {
    i64 half = turned / 2;
    for (i64 i = 0; i < half; ++i) {
        i64 a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
        float first = x[a], second = x[b];
        x[a] = first * own[a] + second * other[a];
        x[b] = second * own[b] + first * other[b];
    }
}

// Writes numbers in the dtype of a cache.
template <class K> static void write_keys(K* to, const float* from, i64 n) {
    if constexpr (sizeof(K) == 4) {
        __builtin_memcpy(to, from, n * sizeof(float));
    } else {
        for (i64 i = 0; i < n; ++i) to[i] = narrow(from[i]);
    }
}
}  // namespace REGARD_LEVEL
