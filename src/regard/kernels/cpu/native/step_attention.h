// Attention of one query to keys that may lie in several rows of a cache: each key has the number of its row (slot), so
// that beams are reordered without moving keys. Lanes are the width; all query heads of a key head go through its keys
// together.
#pragma once
#include "step_rows.h"

namespace REGARD_LEVEL {
// Keys or values of one head: key t is at `at + slot[t] · apart + t · width`, all in slot 0 if `slot` is null.
template <class K> struct Slotted {
    const K* at;
    const int32_t* slot;
    i64 apart, width;
};
template <class K> INLINE const K* row_at(const Slotted<K>& x, i64 t) {
    return x.at + (x.slot ? x.slot[t] * x.apart : 0) + t * x.width;
}

// scores[g][t] = query[g] · key[t] for t from `first` to `end`; up to a full vector more are written.
template <class K>
static void score_keys(float* scores, i64 apart, const float* query, i64 queries, const Slotted<K>& keys, i64 first,
                       i64 end) {
    constexpr int W = WIDE<float>;
    const i64 width = keys.width, full = width - width % W;
    for (i64 t = first; t < end; t += W) {
        const K* key[W];
        for (int i = 0; i < W; ++i) key[i] = row_at(keys, min(t + i, end - 1));
        for (i64 g = 0; g < queries; ++g) {
            const float* q = query + g * width;
            f32v sum[W] = {};
            for (i64 e = 0; e < full; e += W) {
                f32v x = load(q + e);
#pragma GCC unroll 16
                for (int i = 0; i < W; ++i) sum[i] = fma(x, load_wide(key[i] + e), sum[i]);
            }
            if (full < width) {
                f32v x = load_part(q + full, width - full);
                for (int i = 0; i < W; ++i) sum[i] = fma(x, load_wide(key[i] + full, width - full), sum[i]);
            }
            transpose_registers<float>(sum);
            f32v total = sum[0];
#pragma GCC unroll 16
            for (int i = 1; i < W; ++i) total += sum[i];
            store(scores + g * apart + t - first, total);
        }
    }
}

// The scores of a row become exp(scale (s − max)), padded with zeros to a full vector; returns 1 / their sum.
static float exponentials(float* scores, i64 count, float scale) {
    constexpr int W = WIDE<float>;
    const i64 wide = round_up(count, W);
    for (i64 t = count; t < wide; ++t) scores[t] = -__builtin_inff();
    f32v top = splat(-__builtin_inff()), sum = {};
    for (i64 t = 0; t < wide; t += W) top = maxv(load(scores + t), top);
    float largest = top[0];
    for (int i = 1; i < W; ++i) largest = top[i] > largest ? top[i] : largest;
    f32v factor = splat(scale * 1.44269504088896f);
    for (i64 t = 0; t < wide; t += W) {
        f32v p = exp2v((load(scores + t) - largest) * factor);
        sum += p;
        store(scores + t, p);
    }
    return 1.0f / sum_lanes<float>(sum);
}

// V vectors of the output: Σ p[t] · value[t], for even and odd t in separate sums.
template <class K, int V>
INLINE void sum_values(float* to, const float* p, const Slotted<K>& values, i64 first, i64 end, i64 e, float factor) {
    constexpr int W = WIDE<float>;
    f32v even[V] = {}, odd[V] = {};
    i64 t = first;
    for (; t + 1 < end; t += 2) {
        const K *a = row_at(values, t) + e, *b = row_at(values, t + 1) + e;
        f32v x = splat(p[t - first]), y = splat(p[t + 1 - first]);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            even[v] = fma(x, load_wide(a + v * W), even[v]);
            odd[v] = fma(y, load_wide(b + v * W), odd[v]);
        }
    }
    if (t < end) {
        const K* a = row_at(values, t) + e;
        f32v x = splat(p[t - first]);
        for (int v = 0; v < V; ++v) even[v] = fma(x, load_wide(a + v * W), even[v]);
    }
    for (int v = 0; v < V; ++v) store(to + e + v * W, (even[v] + odd[v]) * factor);
}
template <class K>
static void mix_values(float* to, const float* p, const Slotted<K>& values, i64 first, i64 end, float factor) {
    constexpr int W = WIDE<float>;
    const i64 width = values.width;
    i64 e = 0;
    for (; e + 4 * W <= width; e += 4 * W) sum_values<K, 4>(to, p, values, first, end, e, factor);
    for (; e + W <= width; e += W) sum_values<K, 1>(to, p, values, first, end, e, factor);
    for (; e < width; ++e) {
        float sum = 0;
        for (i64 t = first; t < end; ++t) {
            K x = row_at(values, t)[e];
            if constexpr (sizeof(K) == 4) {
                sum += p[t - first] * x;
            } else {
                sum += p[t - first] * widen(x);
            }
        }
        to[e] = sum * factor;
    }
}

// Output of `queries` heads over one head of keys and values, and in `shown` the weights times `share`, added up.
// `scores` has room for `queries` rows of `apart` numbers.
template <class K>
static void attend_slotted(float* to, const float* query, i64 queries, const Slotted<K>& keys, const Slotted<K>& values,
                           i64 first, i64 end, float scale, float* scores, i64 apart, float* shown, float share) {
    if (first >= end) {
        for (i64 i = 0; i < queries * keys.width; ++i) to[i] = 0;
        return;
    }
    score_keys(scores, apart, query, queries, keys, first, end);
    for (i64 g = 0; g < queries; ++g) {
        float* p = scores + g * apart;
        float factor = exponentials(p, end - first, scale);
        mix_values(to + g * keys.width, p, values, first, end, factor);
        if (shown)
            for (i64 t = 0; t < end - first; ++t) shown[t] += p[t] * factor * share;
    }
}
}  // namespace REGARD_LEVEL
