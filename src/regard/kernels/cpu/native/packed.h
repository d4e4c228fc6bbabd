// Products of few rows with weights that were packed once, for inference: Σ_k x[row][k] · weight[output][k].
//
// The outputs are divided into panels of NV vectors, one output in each lane. A panel is contiguous in memory, input by
// input, so a product reads the weights once, in order. Numbers of fewer than 32 bits are stored such that a lane of 32
// bits has those of several vectors, which are then widened by shifts. All products are computed in float32. A weight
// must be read by the level that packed it.
#pragma once
#include "gemm.h"
#include "load.h"

namespace REGARD_LEVEL {
constexpr i64 PANEL = LANES<Float>;  // outputs of a panel

// Vectors of sums in registers, as in gemm.h, and fewer if weights need registers to be widened.
constexpr int MOST_SUMS = NV == 4 ? 24 : 12, FEWER_SUMS = NV == 4 ? 16 : 8;

// How weights are stored: `vector(at, i)` is vector i of the STEP · NV vectors of STEP inputs, which have BYTES_A_STEP
// bytes. `set` writes weight `lane` of the vector.
struct Floats {
    static constexpr int STEP = 1, BYTES_A_STEP = NV * BYTES, SUMS = MOST_SUMS;
    INLINE f32v vector(const char* at, int i) { return load((const float*)(at + i * BYTES)); }
    INLINE void set(char* at, int i, i64 lane, float x) { ((float*)(at + i * BYTES))[lane] = x; }
};
struct Brains {
    static constexpr int STEP = 1, BYTES_A_STEP = NV * BYTES / 2, SUMS = MOST_SUMS;
    INLINE f32v vector(const char* at, int i) {
        u32v pair = load((const uint32_t*)(at + i / 2 * BYTES));
        return i % 2 ? (f32v)(pair & 0xFFFF0000u) : (f32v)(pair << 16);
    }
    INLINE void set(char* at, int i, i64 lane, float x) {
        ((uint16_t*)(at + i / 2 * BYTES))[2 * lane + i % 2] = narrow(x);
    }
};
// Integers from −127 to 127, which are multiplied by the scale of their output after the sum.
struct Bytes {
    static constexpr int STEP = 4 / NV, BYTES_A_STEP = BYTES, SUMS = FEWER_SUMS;
    INLINE f32v vector(const char* at, int i) {
        i32v four = load_ints<float>((const int32_t*)at);
        return to_real<float>((i32v)((u32v)four << (24 - 8 * i)) >> 24);
    }
    INLINE void set(char* at, int i, i64 lane, float x) { ((signed char*)at)[4 * lane + i] = (signed char)x; }
};
static_assert(NV == 2 || NV == 4, "pairs of vectors, and one or two inputs in four bytes");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first number of a lane is its lowest bits");

// Calls `work` with the way in which the weights are stored.
template <class F> INLINE auto for_kind(i64 kind, F work) {
    if (kind == I8) return work(Bytes{});
    if (kind == BF16) return work(Brains{});
    return work(Floats{});
}
template <class K> INLINE i64 panel_bytes(i64 inputs) { return (inputs + K::STEP - 1) / K::STEP * K::BYTES_A_STEP; }
INLINE i64 panels(i64 outputs) { return (outputs + PANEL - 1) / PANEL; }

// For few rows, several panels are read at once, for enough independent sums.
constexpr int at_once(int rows, int sums) {
    const int panels = sums / (rows * NV);
    return panels > 4 ? 4 : panels > 1 ? panels : 1;
}
// The processor's own prefetcher does not cross pages, and with several rows too few loads are under way at a time.
constexpr i64 AHEAD = 1536;  // bytes

// R rows times G panels. `ld` is the distance of rows of sums.
template <class K, int R, int G>
static void few_rows(i64 inputs, const float* x, i64 stride, const char* at, float* sums, i64 ld) {
    constexpr int N = G * NV, W = WIDE<float>;
    const i64 apart = panel_bytes<K>(inputs);
    f32v sum[R][N];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) sum[r][n] = f32v{};
    auto add = [&](int s) __attribute__((always_inline)) {
        if constexpr (R < N) {
            f32v one[R];
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) one[r] = broadcast(x[r * stride + s]);
#pragma GCC unroll 16
            for (int n = 0; n < N; ++n) {
                f32v column = K::vector(at + n / NV * apart, s * NV + n % NV);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) sum[r][n] = fma(one[r], column, sum[r][n]);
            }
        } else {
            f32v column[N];
#pragma GCC unroll 16
            for (int n = 0; n < N; ++n) column[n] = K::vector(at + n / NV * apart, s * NV + n % NV);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                f32v one = broadcast(x[r * stride + s]);
#pragma GCC unroll 16
                for (int n = 0; n < N; ++n) sum[r][n] = fma(one, column[n], sum[r][n]);
            }
        }
    };
    for (i64 k = inputs; k >= K::STEP; k -= K::STEP, x += K::STEP, at += K::BYTES_A_STEP) {
        if constexpr (R > 3) __builtin_prefetch(at + AHEAD, 0, 2);
        add(0);
        if constexpr (K::STEP > 1) add(1);
    }
    if constexpr (K::STEP > 1)
        if (inputs % K::STEP) add(0);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) store(sums + r * ld + n * W, sum[r][n]);
}

template <class K, int R>
static void few_rows_of(i64 inputs, const float* x, i64 stride, const char* at, i64 count, float* sums, i64 ld) {
    constexpr int G = at_once(R, K::SUMS);
    const i64 apart = panel_bytes<K>(inputs);
    for (; count >= G; count -= G, at += G * apart, sums += G * PANEL)
        few_rows<K, R, G>(inputs, x, stride, at, sums, ld);
    if constexpr (G > 1)
        for (; count; --count, at += apart, sums += PANEL) few_rows<K, R, 1>(inputs, x, stride, at, sums, ld);
}

// Many rows times a few panels, which have TOGETHER outputs or fewer: the inputs in parts, of which the weights stay in
// the second-level cache while all rows read them; those of the next part are prefetched between the rows. Weights that
// are stored in fewer bits are widened once for all rows. After each few rows, done(first, end) is called, so that the
// processor writes the outputs, each row to another page, while it multiplies the next rows.
constexpr i64 TOGETHER = 64;
static_assert(TOGETHER % PANEL == 0, "whole panels");
template <class K, class Done>
static void many_rows(i64 inputs, const float* x, i64 rows, i64 stride, const char* first, i64 count, float* sums,
                      Done done) {
    constexpr int W = WIDE<float>;
    constexpr bool WIDENED = K::BYTES_A_STEP != NV * BYTES;
    constexpr i64 PART = WIDENED ? 256 : 1024;
    alignas(64) float wide[WIDENED ? PART * TOGETHER : 1];
    const i64 apart = panel_bytes<K>(inputs), ld = count * PANEL;
    const char* at = first;
    for (i64 k = 0; k < inputs; k += PART, at += PART / K::STEP * K::BYTES_A_STEP) {
        const i64 n = min(PART, inputs - k), bytes = panel_bytes<K>(n), share = bytes * MR / rows;
        const float* weights = (const float*)at;
        i64 step = apart / (i64)sizeof(float);  // from panel to panel
        if constexpr (WIDENED) {
            weights = wide, step = n * PANEL;
            float* to = wide;
            for (i64 p = 0; p < count; ++p) {
                to = wide + p * step;
                const char* from = at + p * apart;
                for (i64 j = 0; j < n; j += K::STEP, from += K::BYTES_A_STEP, to += K::STEP * PANEL)
#pragma GCC unroll 4
                    for (int i = 0; i < K::STEP * NV; ++i) store(to + i * W, K::vector(from, i));
            }
        }
        const char* next = k + n < inputs ? at + bytes : first + count * apart;
        for (i64 r = 0; r < rows; r += MR, next += share) {
            const i64 m = min(MR, rows - r);
            const float* from = x + r * stride + k;
            for (i64 p = 0; p < count; ++p) {
                float* to = sums + r * ld + p * PANEL;
                prefetch(next + p * apart, share);
                if (k == 0) {
                    gemm<Float, false>(m, NV, n, from, stride, 1, weights + p * step, PANEL, to, ld);
                } else {
                    gemm<Float, true>(m, NV, n, from, stride, 1, weights + p * step, PANEL, to, ld);
                }
            }
            if (k + n == inputs) done(r, r + m);
        }
    }
}

// Rows that are processed together, and from how many on the weights are widened first.
constexpr i64 ROWS = 86 * MR, MANY = 4 * MR;

// `rows` ≤ ROWS times `count` ≤ panels_together(rows) panels from `first` on, without the scales. done(first, end) is
// called when these rows are complete.
INLINE i64 panels_together(i64 rows) {
    if (rows >= MANY) return TOGETHER / PANEL;
    return rows >= 1 && rows <= 3 ? at_once((int)rows, MOST_SUMS) : 1;
}
template <class Done>
static void multiply(const Packed& w, const float* x, i64 rows, i64 stride, i64 first, i64 count, float* sums,
                     Done done) {
    for_kind(w.kind, [&](auto kind) {
        using K = decltype(kind);
        const char* at = w.data + first * panel_bytes<K>(w.inputs);
        if (rows >= MANY && w.inputs) return many_rows<K>(w.inputs, x, rows, stride, at, count, sums, done);
        const i64 ld = count * PANEL, all = rows;
        for (i64 parts = (rows + MR - 1) / MR; parts; --parts) {
            const i64 r = (rows + parts - 1) / parts;  // parts of about the same number of rows
            switch (r) {
                case 1: few_rows_of<K, 1>(w.inputs, x, stride, at, count, sums, ld); break;
                case 2: few_rows_of<K, 2>(w.inputs, x, stride, at, count, sums, ld); break;
                case 3: few_rows_of<K, 3>(w.inputs, x, stride, at, count, sums, ld); break;
                case 4: few_rows_of<K, 4>(w.inputs, x, stride, at, count, sums, ld); break;
                case 5: few_rows_of<K, 5>(w.inputs, x, stride, at, count, sums, ld); break;
                default: few_rows_of<K, 6>(w.inputs, x, stride, at, count, sums, ld);
            }
            rows -= r, x += r * stride, sums += r * ld;
        }
        done(0, all);
    });
}

// The product of `rows` rows of `x`, `stride` apart, with the panels from `first` to before `last`. For each row and
// each vector of outputs, it calls write(row, output, sums, lanes): the first `lanes` of `sums` are the outputs from
// `output` on. Panels are independent: threads may compute different ones. Any number of rows.
template <class Write>
static void product(const Packed& w, const float* x, i64 rows, i64 stride, i64 first, i64 last, Write write) {
    constexpr int W = WIDE<float>;
    alignas(64) float sums[ROWS * TOGETHER];
    const float* scales = w.scales;
    const i64 parts = (rows + ROWS - 1) / ROWS, together = parts ? round_up((rows + parts - 1) / parts, MR) : 0;
    for (i64 row = 0; row < rows; row += together) {
        const i64 n = min(together, rows - row), most = panels_together(n);
        for (i64 panel = first, count; panel < last; panel += count) {
            count = min(most, last - panel);
            const i64 from = panel * PANEL, to = min(w.outputs, from + count * PANEL), ld = count * PANEL;
            multiply(w, x + row * stride, n, stride, panel, count, sums, [&](i64 r, i64 end) {
                for (; r < end; ++r)
                    for (i64 o = from; o < to; o += W) {
                        f32v y = load(sums + r * ld + o - from);
                        if (scales) y *= load(scales + o);
                        write(row + r, o, y, min(W, to - o));
                    }
            });
        }
    }
}
}  // namespace REGARD_LEVEL
