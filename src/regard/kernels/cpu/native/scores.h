// One tile of scores, [keys][lanes]: score, softcap, bias, mask, noise, in the order of the definition.
#pragma once

constexpr i64 KEYS = 128;  // of a tile; its scores, 32 KiB, stay in the first cache

constexpr i64 PAIR_ROW = KEYS / 2 + 16;  // pairs of keys in a row of turned values: a product may begin within the tile

// One operand of a product, read number by number: `at[j · row + e · step]`.
template <class M> struct Operand {
    const typename M::A* at;
    i64 row, step;
};

// What one thread needs for tiles, and what of the call is the same for all of them.
template <class M> struct Tiles {
    using C = typename M::C;
    using A = typename M::A;
    const Args& a;
    bool direct;  // keys and values are read where they lie
    bool unscaled;     // the scores stay without their scale, which goes into the exponent
    C exponent;   // exp(score) = 2^(exponent · score)
    i64 units, value_units;  // of a row: its width, or half of it
    A *key_buffer, *value_buffer, *key_pairs_buffer;
    C *scores, *slope, *dense, *mask, *scratch;
    C* relative;  // of the head, backwards, so that the lanes, which go down the table, are a vector of it
    Operand<M> key, value, key_pairs;  // of the tile: keys for the scores; values; keys for the gradient of the queries
};

template <class M> INLINE bool scaled_later(const Args& a) {
    return a.score == DOT && a.scale > 0 && a.normalizer == SOFTMAX && !a.softcap && !a.bias.at && !a.relative;
}

template <class M> static Tiles<M> tiles(const Args& a, Arena& arena, bool backward) {
    using C = typename M::C;
    using A = typename M::A;
    Tiles<M> t{a, M::PAIR == 1 && a.dtype == (sizeof(C) == 8 ? F64 : F32), scaled_later<M>(a), C(0), 0, 0, {}, {}, {}, {}, {}, {}, {},
               {}, {}, {}, {}, {}};
    t.exponent = C((t.unscaled ? a.scale : 1.0) * 1.44269504088896340736);
    t.units = units<M>(a.width), t.value_units = units<M>(a.value_width);
    i64 lanes = LANES<M>, widest = max(max(a.width, a.value_width), max(t.units, t.value_units));
    if (!t.direct) {
        i64 buffer = max(KEYS, M::TILED ? PAIR_ROW : 0) * round_up(widest, 16);
        t.key_buffer = arena.take<A>(buffer);
        t.value_buffer = arena.take<A>(buffer);
        if (backward && M::PAIR == 2) t.key_pairs_buffer = arena.take<A>(buffer);
    }
    t.scores = arena.take<C>(KEYS * lanes);
    t.dense = arena.take<C>(KEYS * lanes);
    t.mask = arena.take<C>(KEYS * lanes);
    t.scratch = arena.take<C>(lanes * max(KEYS, widest) + 2 * lanes);
    if (a.relative) t.relative = arena.take<C>(a.relative_length + lanes);
    if (backward && a.softcap) t.slope = arena.take<C>(KEYS * lanes);
    return t;
}

// The tables of a head, before its first tile.
template <class M> static void begin_head(Tiles<M>& t, i64 h) {
    using C = typename M::C;
    if (!t.a.relative) return;
    i64 length = t.a.relative_length;
    const C* table = (const C*)t.a.relative + h * t.a.relative_stride;
    for (i64 i = 0; i < length; ++i) t.relative[i] = table[length - 1 - i];
    for (i64 i = 0; i < LANES<M>; ++i) t.relative[length + i] = 0;  // for lanes without a query
}

// Pairs of bfloat16 as 32 bits, a zero where the second is missing.
INLINE void read_pairs(uint32_t* to, const char* from, i64 stride, i64 n) {
    const uint16_t* x = (const uint16_t*)from;
    if (stride == 1) {
        __builtin_memcpy(to, x, n / 2 * 4);
    } else {
        for (i64 i = 0; i + 1 < n; i += 2) to[i / 2] = x[i * stride] | (uint32_t)x[(i + 1) * stride] << 16;
    }
    if (n & 1) to[n / 2] = x[(n - 1) * stride];
}

// Two rows of bfloat16 to one of their pairs; a row that is missing is 0.
INLINE void pair_up(uint32_t* to, const uint16_t* one, const uint16_t* two, i64 step, i64 width) {
    if (one && two && step == 1) {
        for (i64 e = 0; e < width; ++e) to[e] = one[e] | (uint32_t)two[e] << 16;
    } else {
        for (i64 e = 0; e < width; ++e) to[e] = (one ? one[e * step] : 0) | (two ? (uint32_t)two[e * step] << 16 : 0);
    }
}
// Rows of pairs along the rows: `to[j / 2][e]` holds `from[j][e]` and `from[j + 1][e]`.
INLINE void interleave(uint32_t* to, i64 ldto, const char* from, i64 row, i64 step, i64 n, i64 width) {
    const uint16_t* x = (const uint16_t*)from;
    for (i64 j = 0; j < n; j += 2) pair_up(to + j / 2 * ldto, x + j * row, j + 1 < n ? x + (j + 1) * row : nullptr, step, width);
}

// `n` rows of keys or values from `j0`, for products along their width; copied to `held` where they can't be read as they lie.
template <class M>
static Operand<M> along_width(const Tiles<M>& t, const Strided& from, i64 width, typename M::A* buffer, i64 b, i64 hk, i64 j0, i64 n) {
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
// The same for products along the keys.
template <class M>
static Operand<M> along_keys(const Tiles<M>& t, const Strided& from, i64 width, typename M::A* buffer, i64 b, i64 hk, i64 j0, i64 n) {
    if constexpr (M::TILED) {
        // Turned, so that the keys of one column stand beside each other; missing ones are 0.
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
        return along_width(t, from, width, buffer, b, hk, j0, n);
    }
}

// The queries of a block (or rows of any tensor that has the queries' shape), turned: [width][lanes], by pairs for pairs.
template <class M>
static void read_transposed(typename M::A* to, const Block<M>& k, const Strided& from, i64 width, char* scratch, const bool* hidden = nullptr) {
    using A = typename M::A;
    i64 pairs = (width + M::PAIR - 1) / M::PAIR;
    bool as_they_lie = !hidden && from.stride[3] == 1 && k.consecutive &&
                       (M::PAIR == 2 ? !(width & 1) && !(from.stride[2] & 1) : from.dtype == (sizeof(A) == 8 ? F64 : F32));
    if (as_they_lie) {
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

// What a tensor that broadcasts to (B, H, Lq, Lk) has for a tile, [keys][lanes].
template <class M> static void read_dense(typename M::C* to, const Strided& from, const Block<M>& k, i64 j0, i64 n, typename M::C* scratch) {
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
        // By rows first: rows that lie a power of two apart would throw each other out of the cache.
        for (i64 i = 0; i < k.n; ++i)
            read_row<C>(scratch + i * KEYS, base + k.query[i] * from.stride[2] * size, from.dtype, from.stride[3], n);
        transpose<C>(to, k.ld, scratch, KEYS, k.n, n);
    }
    if (from.stride[2] && from.stride[3])
        for (i64 i = round_up(k.n, W); i < k.ld; ++i)
            for (i64 j = 0; j < n; ++j) to[j * k.ld + i] = 0;
}

enum Seen { NOTHING, SOME, EVERYTHING };

// Which keys of [j0, j0 + n) each lane sees, as far as a table must be read for it; the intervals are not in it.
template <class M> static Seen read_mask(Tiles<M>& t, const Block<M>& k, i64 j0, i64 n) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    if (!a.visible.at && !a.layout.at) return EVERYTHING;
    if (a.layout.at) {
        for (i64 j = 0; j < n; ++j) {
            C* row = t.mask + j * k.ld;
            if (j && (j0 + j) / a.block == (j0 + j - 1) / a.block) {
                __builtin_memcpy(row, row - k.ld, k.ld * sizeof(C));
                continue;
            }
            for (i64 i = 0; i < k.ld; ++i)
                row[i] = i && k.query[i] / a.block == k.query[i - 1] / a.block
                             ? row[i - 1]
                             : C(*(const unsigned char*)at(a.layout, k.b, k.h, k.query[i] / a.block, (j0 + j) / a.block));
        }
    }
    if (a.visible.at) {
        C* to = a.layout.at ? t.dense : t.mask;
        read_dense<M>(to, a.visible, k, j0, n, t.scratch);
        for (i64 i = 0; a.layout.at && i < n * k.ld; ++i) t.mask[i] *= to[i];
    }
    Vec<C> none = Vec<C>{}, whole = splat(C(1));
    for (i64 i = 0; i < n * k.ld; i += W) {
        Vec<C> v = load(t.mask + i);
        none = maxv(none, v);
        whole = -maxv(-whole, -v);
    }
    if (!any(none > C(0))) return NOTHING;
    return any(whole == C(0)) ? SOME : EVERYTHING;
}

// With few queries, as in a decoder's step, most lanes would be empty: lanes are the width then. Not in float64, where a
// step equals the full pass to the bit, by going the same way. Nor for top-k, whose rows are looked at, few at a time, by the
// threshold that the forward found: a score that is summed in another order could fall below it.
template <class M> INLINE bool along_the_width(const Tiles<M>& t, const Block<M>& k) {
    return sizeof(typename M::C) == 4 && 2 * k.n <= WIDE<typename M::C> && t.key.step == 1 && t.a.normalizer != TOPK;
}

template <class M> static void additive_few(Tiles<M>& t, const Block<M>& k, const typename M::C* query, i64 j0, i64 n, typename M::C* to) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    const C* vector = (const C*)a.vector + k.h * a.width;
    const C* key = (const C*)t.key.at + j0 * t.key.row;
    for (i64 i = 0; i < n * k.ld; i += W) store(to + i, Vec<C>{});
    for (i64 i = 0; i < k.n; ++i) {
        for (i64 e = 0; e < a.width; ++e) t.scratch[e] = query[e * k.ld + i];
        for (i64 j = 0; j < n; ++j) {
            Vec<C> sum = {};
            for (i64 e = 0; e < a.width; e += W) {
                i64 left = a.width - e;
                sum = fma(tanhv(load_part(t.scratch + e, left) + load_part(key + j * t.key.row + e, left)), load_part(vector + e, left), sum);
            }
            to[j * k.ld + i] = sum_lanes<C>(sum);
        }
    }
}

// s_ij = v · tanh(q_i + k_j): the queries [width][lanes], the keys row by row.
template <class M> static void additive(Tiles<M>& t, const Block<M>& k, const typename M::C* query, i64 j0, i64 n, typename M::C* to) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    const C* vector = (const C*)a.vector + k.h * a.width;
    const C* key = (const C*)t.key.at + j0 * t.key.row;
    for (i64 i = 0; i < k.ld; i += W)
        for (i64 j = 0; j < n; ++j) {
            Vec<C> one = {}, two = {};
            const C* row = key + j * t.key.row;
            i64 e = 0;
            for (; e + 1 < a.width; e += 2) {
                one = fma(tanhv(load(query + e * k.ld + i) + row[e * t.key.step]), splat(vector[e]), one);
                two = fma(tanhv(load(query + (e + 1) * k.ld + i) + row[(e + 1) * t.key.step]), splat(vector[e + 1]), two);
            }
            if (e < a.width) one = fma(tanhv(load(query + e * k.ld + i) + row[e * t.key.step]), splat(vector[e]), one);
            store(to + j * k.ld + i, one + two);
        }
}

// −scale · |x|² of rows: the parts of a distance that are not a product.
template <class C> INLINE C square(const C* x, i64 step, i64 n) {
    C total = 0;
    for (i64 e = 0; e < n; ++e) total += x[e * step] * x[e * step];
    return total;
}

// What of a query goes into many tiles.
template <class M> struct Query {
    typename M::A* transposed;        // [width][lanes]
    typename M::C* square;        // −scale · |q|²
};

// The scores of `n` keys from `j`, where the tile that was read begins with key `tile`; −∞ is what a lane does not see.
// False if no lane sees any.
template <class M> static bool score(Tiles<M>& t, Block<M>& k, const Query<M>& q, i64 tile, i64 j0, i64 n, typename M::C* s) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Seen seen = read_mask(t, k, j0, n);
    if (seen == NOTHING) return false;
    i64 size = n * k.ld;
    if (a.score == ADDITIVE) {
        if constexpr (M::PAIR == 1) (along_the_width(t, k) ? additive_few<M> : additive<M>)(t, k, q.transposed, j0 - tile, n, s);
    } else {
        gemm<M, false>(n, k.nv, t.units, t.key.at + (j0 - tile) * t.key.row, t.key.row, t.key.step, q.transposed, k.ld, s, k.ld);
        if (a.score == DISTANCE) {
            if constexpr (M::PAIR == 1)
                for (i64 j = 0; j < n; ++j) {
                    C of_key = -C(a.scale) * square((const C*)t.key.at + (j0 - tile + j) * t.key.row, t.key.step, a.width);
                    for (i64 i = 0; i < k.ld; i += W)
                        store(s + j * k.ld + i, fma(load(s + j * k.ld + i), splat(C(2 * a.scale)), load(q.square + i) + of_key));
                }
        } else if (!t.unscaled && a.scale != 1) {
            for (i64 i = 0; i < size; i += W) store(s + i, load(s + i) * C(a.scale));
        }
    }
    if (a.softcap) {
        C cap = C(a.softcap), part = C(1 / a.softcap);
        for (i64 i = 0; i < size; i += W) {
            Vec<C> bent = tanhv<true>(load(s + i) * part);
            store(s + i, bent * cap);
            if (t.slope) store(t.slope + i, C(1) - bent * bent);
        }
    }
    if (a.bias.at && a.bias.stride[2] == 0 && a.bias.stride[3] == 0) {
        C shift = read<C>(at(a.bias, k.b, k.h, 0, 0), a.bias.dtype);
        for (i64 i = 0; i < size; i += W) store(s + i, load(s + i) + shift);
    } else if (a.bias.at) {
        read_dense<M>(t.dense, a.bias, k, j0, n, t.scratch);
        for (i64 i = 0; i < size; i += W) store(s + i, load(s + i) + load(t.dense + i));
    }
    if (a.relative) {
        if (k.consecutive) {
            for (i64 j = 0; j < n; ++j) {
                const C* row = t.relative + a.keys - 1 - (j0 + j) + k.query[0];
                for (i64 i = 0; i < k.ld; i += W) store(s + j * k.ld + i, load(s + j * k.ld + i) + load(row + i));
            }
        } else {
            for (i64 j = 0; j < n; ++j)
                for (i64 i = 0; i < k.ld; ++i) s[j * k.ld + i] += t.relative[a.keys - 1 - (j0 + j) + k.query[i]];
        }
    }
    bool inside = j0 >= k.inner && j0 + n <= k.outer;
    if (!inside || seen == SOME || a.bad) {
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W) {
                auto visible = in_interval(k, i, j0 + j);
                if (seen == SOME) visible &= load(t.mask + j * k.ld + i) != C(0);
                store(s + j * k.ld + i, visible ? load(s + j * k.ld + i) : splat(-C(__builtin_inf())));
                if (a.bad && a.bad[(k.b * a.key_heads + k.hk) * a.keys + j0 + j])
                    store(k.poison + i, visible ? splat(C(__builtin_nan(""))) : load(k.poison + i));
            }
    }
    return true;
}

// The number of this head that the normalizer has: alpha, temperature or standard deviation.
template <class C> INLINE double number_of(const Args& a, i64 h) {
    return a.numbers ? (double)((const C*)a.numbers)[h * a.number_stride] : a.number;
}
