// The memory of one thread for tiles of keys, and constants of the call.
#pragma once
#include "gemm.h"
#include "load.h"

namespace REGARD_LEVEL {
constexpr i64 KEYS = 128;  // keys of a tile, whose scores (32 KiB) fit in the first-level cache

// Pairs of keys in a row of transposed values, padded because a product may begin within the tile.
constexpr i64 PAIR_ROW = KEYS / 2 + 16;

// An operand whose numbers are read one by one: `at[j · row + e · step]`.
template <class M> struct Operand {
    const typename M::A* at;
    i64 row, step;
};

template <class M> struct Tiles {
    using C = typename M::C;
    using A = typename M::A;
    const Args& a;
    bool direct = false;             // keys and values can be read in place
    bool unscaled = false;           // scores are not multiplied by the scale, which is part of the exponent
    C exponent = 0;                  // exp(score) = 2^(exponent · score)
    i64 units = 0, value_units = 0;  // stored length of a row of keys and of values: see units in gemm.h
    A *key_buffer = nullptr, *value_buffer = nullptr, *key_pairs_buffer = nullptr;
    C *scores = nullptr, *slope = nullptr, *dense = nullptr, *mask = nullptr, *scratch = nullptr;
    C* relative = nullptr;  // table of the head, reversed: consecutive lanes read consecutive entries
    // Of the tile, for the products that give the scores, the output and the gradient of the queries.
    Operand<M> key = {}, value = {}, key_pairs = {};
};

// The last key at or before `j0` at an even distance from the first key of the tile: for pairs of bfloat16, and so that
// sums of two keys each do not depend on the first visible key.
INLINE i64 begin_of_pair(i64 tile, i64 j0) { return j0 - (j0 - tile) % 2; }

template <class M> INLINE bool scaled_later(const Args& a) {
    return a.score == DOT && a.scale > 0 && a.normalizer == SOFTMAX && !a.softcap && !a.bias.at && !a.relative;
}

template <class M> static Tiles<M> tiles(const Args& a, Arena& arena, bool backward) {
    using C = typename M::C;
    using A = typename M::A;
    Tiles<M> t{
        .a = a, .direct = M::PAIR == 1 && a.dtype == (sizeof(C) == 8 ? F64 : F32), .unscaled = scaled_later<M>(a)};
    t.exponent = C((t.unscaled ? a.scale : 1.0) * 1.44269504088896340736);
    t.units = units<M>(a.width), t.value_units = units<M>(a.value_width);
    i64 lanes = LANES<M>, widest = max(max(a.width, a.value_width), max(t.units, t.value_units));
    const i64 buffer = max(KEYS, M::TILED ? PAIR_ROW : 0) * round_up(widest, 16);
    if (!t.direct) t.key_buffer = arena.take<A>(buffer);
    if (!t.direct || !backward) t.value_buffer = arena.take<A>(buffer);
    if (!t.direct && backward && M::PAIR == 2) t.key_pairs_buffer = arena.take<A>(buffer);
    t.scores = arena.take<C>(KEYS * lanes);
    t.dense = arena.take<C>(KEYS * lanes);
    t.mask = arena.take<C>(KEYS * lanes);
    t.scratch = arena.take<C>(lanes * max(KEYS, widest) + 2 * lanes);
    if (a.relative) t.relative = arena.take<C>(a.relative_length + lanes);
    if (backward && a.softcap) t.slope = arena.take<C>(KEYS * lanes);
    return t;
}

// Reads the tables of a head; called before its first tile.
template <class M> static void begin_head(Tiles<M>& t, i64 h) {
    using C = typename M::C;
    if (!t.a.relative) return;
    i64 length = t.a.relative_length;
    const C* table = (const C*)t.a.relative + h * t.a.relative_stride;
    for (i64 i = 0; i < length; ++i) t.relative[i] = table[length - 1 - i];
    for (i64 i = 0; i < LANES<M>; ++i) t.relative[length + i] = 0;  // for lanes without a query
}
}  // namespace REGARD_LEVEL
