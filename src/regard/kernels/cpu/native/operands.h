// Tensors as operands of products: pairs of bfloat16, rows in place or copied, transposed queries, dense masks and
// biases.
#pragma once
#include "block.h"
#include "tiles.h"

namespace REGARD_LEVEL {
// Packs a row of bfloat16 into pairs of 32 bits; the second of the last pair is 0 if `n` is odd.
INLINE void read_pairs(uint32_t* to, const char* from, i64 stride, i64 n) {
    const uint16_t* x = (const uint16_t*)from;
    if (stride == 1) {
        __builtin_memcpy(to, x, n / 2 * 4);
    } else {
        for (i64 i = 0; i + 1 < n; i += 2) to[i / 2] = x[i * stride] | (uint32_t)x[(i + 1) * stride] << 16;
    }
    if (n & 1) to[n / 2] = x[(n - 1) * stride];
}

// Packs two rows of bfloat16 into one row of pairs; a null row counts as 0.
INLINE void pair_up(uint32_t* to, const uint16_t* one, const uint16_t* two, i64 step, i64 width) {
    if (one && two && step == 1) {
        for (i64 e = 0; e < width; ++e) to[e] = one[e] | (uint32_t)two[e] << 16;
    } else {
        for (i64 e = 0; e < width; ++e) to[e] = (one ? one[e * step] : 0) | (two ? (uint32_t)two[e * step] << 16 : 0);
    }
}
// Packs pairs of rows: `to[j / 2][e]` has `from[j][e]` and `from[j + 1][e]`.
INLINE void interleave(uint32_t* to, i64 ldto, const char* from, i64 row, i64 step, i64 n, i64 width) {
    const uint16_t* x = (const uint16_t*)from;
    for (i64 j = 0; j < n; j += 2)
        pair_up(to + j / 2 * ldto, x + j * row, j + 1 < n ? x + (j + 1) * row : nullptr, step, width);
}

// `n` rows of keys or values from `j0` for products over their width; in place if possible, otherwise copied to
// `buffer`.
template <class M>
static Operand<M> along_width(const Tiles<M>& t, const Strided& from, i64 width, typename M::A* buffer, i64 b, i64 hk,
                              i64 j0, i64 n) {
    using A = typename M::A;
    const char* first = at(from, b, hk, j0, 0);
    i64 row = from.stride[2], step = from.stride[3], pairs = units<M>(width);
    if (t.direct) return {(const A*)first, row, step};
    if (M::PAIR == 2 && pairs * 2 == width && step == 1 && !(row & 1)) return {(const A*)first, row / 2, 1};
    for (i64 j = 0; j < n; ++j) {
        const char* at_row = first + j * row * bytes_of(from.dtype);
        if constexpr (M::PAIR == 2) {
            for (i64 e = width / 2; M::TILED && e < pairs; ++e) buffer[j * pairs + e] = 0;
            read_pairs(buffer + j * pairs, at_row, step, width);
        } else {
            read_row<typename M::C>(buffer + j * pairs, at_row, from.dtype, step, width);
        }
    }
    return {buffer, pairs, 1};
}
// The same for products over the keys.
template <class M>
static Operand<M> along_keys(const Tiles<M>& t, const Strided& from, i64 width, typename M::A* buffer, i64 b, i64 hk,
                             i64 j0, i64 n) {
    if constexpr (M::TILED) {
        // Transposed, so that the keys of a column are contiguous, and padded with zeros.
        uint32_t* rows = (uint32_t*)t.scratch;
        i64 pairs = (n + 1) / 2;
        interleave(rows, width, at(from, b, hk, j0, 0), from.stride[2], from.stride[3], n, width);
        transpose<uint32_t>(buffer, PAIR_ROW, rows, width, pairs, width);
        for (i64 e = 0; e < width; ++e)
            for (i64 j = pairs; j < PAIR_ROW; ++j) buffer[e * PAIR_ROW + j] = 0;
        return {buffer, 1, PAIR_ROW};
    } else if constexpr (M::PAIR == 2) {
        interleave(buffer, width, at(from, b, hk, j0, 0), from.stride[2], from.stride[3], n, width);
        return {buffer, width, 1};
    } else {
        // If rows are far apart, as of heads side by side, they share few sets of the first-level cache, which loses
        // them between the parts of a product that read some numbers of each row.
        if (!t.direct || from.stride[3] != 1 || from.stride[2] <= 2 * width)
            return along_width(t, from, width, buffer, b, hk, j0, n);
        for (i64 j = 0; j < n; ++j) read_row(buffer + j * width, at(from, b, hk, j0 + j, 0), from.dtype, 1, width);
        return {buffer, width, 1};
    }
}

// The queries of a block (or rows of another tensor with the queries' shape), transposed to [width][lanes], in pairs
// for bfloat16; rows of `hidden` queries are 0.
template <class M>
static void read_transposed(typename M::A* to, const Block<M>& k, const Strided& from, i64 width, char* scratch,
                            const bool* hidden = nullptr) {
    using A = typename M::A;
    i64 pairs = (width + M::PAIR - 1) / M::PAIR;
    bool in_place = !hidden && from.stride[3] == 1 && k.consecutive &&
                    (M::PAIR == 2 ? !(width & 1) && !(from.stride[2] & 1) : from.dtype == (sizeof(A) == 8 ? F64 : F32));
    if (in_place) {
        transpose<A>(to, k.ld, (const A*)at(from, k.b, k.h, k.query[0], 0), from.stride[2] / M::PAIR, k.n, pairs);
    } else {
        A* rows = (A*)scratch;  // [lanes][pairs]
        for (i64 i = 0; i < k.n; ++i) {
            const char* row = at(from, k.b, k.h, k.query[i], 0);
            if (hidden && hidden[i]) {
                __builtin_memset(rows + i * pairs, 0, pairs * sizeof(A));
            } else if constexpr (M::PAIR == 2) {
                read_pairs(rows + i * pairs, row, from.stride[3], width);
            } else {
                read_row<typename M::C>(rows + i * pairs, row, from.dtype, from.stride[3], width);
            }
        }
        transpose<A>(to, k.ld, rows, pairs, k.n, pairs);
    }
    for (i64 i = round_up(k.n, WIDE<A>); i < k.ld; ++i)
        for (i64 e = 0; e < pairs; ++e) to[e * k.ld + i] = 0;
    __builtin_memset(to + pairs * k.ld, 0, (units<M>(width) - pairs) * k.ld * sizeof(A));
}

// The entries of a tensor that broadcasts to (B, H, Lq, Lk) for one tile, [keys][lanes].
template <class M> static void read_dense(typename M::C* to, const Strided& from, const Block<M>& k, i64 j0, i64 n,
                                          typename M::C* scratch) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    i64 size = bytes_of(from.dtype);
    const char* base = at(from, k.b, k.h, 0, j0);
    if (from.stride[2] == 0) {
        for (i64 j = 0; j < n; ++j) {
            Vec<C> v = splat(read<C>(base + j * from.stride[3] * size, from.dtype));
            for (i64 i = 0; i < k.ld; i += W) store(to + j * k.ld + i, v);
        }
    } else if (from.stride[3] == 0) {
        for (i64 i = 0; i < k.ld; ++i) to[i] = read<C>(base + k.query[i] * from.stride[2] * size, from.dtype);
        for (i64 j = 1; j < n; ++j) __builtin_memcpy(to + j * k.ld, to, k.ld * sizeof(C));
    } else {
        // Rows are copied first: rows whose distance is a power of two would evict each other from the cache.
        for (i64 i = 0; i < k.n; ++i)
            read_row<C>(scratch + i * KEYS, base + k.query[i] * from.stride[2] * size, from.dtype, from.stride[3], n);
        transpose<C>(to, k.ld, scratch, KEYS, k.n, n);
    }
    if (from.stride[2] && from.stride[3])
        for (i64 i = round_up(k.n, W); i < k.ld; ++i)
            for (i64 j = 0; j < n; ++j) to[j * k.ld + i] = 0;
}
}  // namespace REGARD_LEVEL
