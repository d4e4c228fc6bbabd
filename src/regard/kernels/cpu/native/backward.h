// The backward: tiles of weights are made anew from the scores and what the forward left (Dao et al. 2022). A group of
// blocks walks along the keys; gradients of queries stay with the block, those of keys and values are added up in rows.
#pragma once

enum Spread : i64 { WHOLE = 1, OF_KEYS = 2, OF_QUERIES = 3, SHARED = 4 };  // how a dense gradient is given

template <class M> struct Back {
    using C = typename M::C;
    using A = typename M::A;
    Block<M> k;
    Query<M> q;
    Known<M> known;
    A *turned;           // gradient of the output, [value width][lanes]
    A *query, *output;   // queries (times their scale) and the output's gradient by rows, [lanes][width in whole vectors]
    C *grad;             // of the queries, [width][lanes]
    C *delta;            // Σ_j w dw, what the softmax's gradient takes off; of entmax by its slopes
    C *numbers, *extra, *sum, *of_bias, *of_prior;
    C *soft, *squared, *mass, *plain;  // of entmax: Σ slope, Σ slope · dw, Σ −w ln w, and others by turns
};

// What one task adds up along the queries.
template <class M> struct Sums {
    using C = typename M::C;
    C *key, *value;  // rows of whole vectors
    i64 key_row, value_row;
    i64 split;
};

template <class C> INLINE i64 whole(i64 n) { return round_up(n, WIDE<C>); }

template <class M> static void lay(Back<M>& w, const Args& a, Arena& arena) {
    using C = typename M::C;
    using A = typename M::A;
    i64 lanes = LANES<M>;
    w.q.turned = arena.take<A>(units<M>(a.width) * lanes);
    w.q.square = arena.take<C>(lanes);
    w.known = known<M>(arena);
    w.turned = arena.take<A>(units<M>(a.value_width) * lanes);
    w.query = arena.take<A>(lanes / M::PAIR * whole<C>(a.width));
    w.output = arena.take<A>(lanes / M::PAIR * whole<C>(a.value_width));
    w.grad = arena.take<C>(a.width * lanes);
    C** each_lane[] = {&w.delta, &w.numbers, &w.extra, &w.sum, &w.of_bias, &w.of_prior, &w.soft, &w.squared, &w.mass, &w.plain};
    for (C** each : each_lane) *each = arena.take<C>(lanes);
}

// Rows of a tensor of the queries' shape as the products along the queries want them.
template <class M>
static void keep_rows(typename M::A* to, const Block<M>& k, const Strided& from, i64 width, const bool* hidden, double scale) {
    using A = typename M::A;
    using C = typename M::C;
    i64 ld = whole<C>(width);
    if constexpr (M::PAIR == 2) {
        auto row_of = [&](i64 i) {
            return i < k.n && !(hidden && hidden[i]) ? (const uint16_t*)at(from, k.b, k.h, k.query[i], 0) : nullptr;
        };
        for (i64 i = 0; i < k.ld; i += 2) {
            A* row = to + i / 2 * ld;
            pair_up(row, row_of(i), row_of(i + 1), from.stride[3], width);
            for (i64 e = width; e < ld; ++e) row[e] = 0;
        }
    } else {
        for (i64 i = 0; i < k.ld; ++i) {
            A* row = to + i * ld;
            if (i >= k.n || (hidden && hidden[i])) {
                __builtin_memset(row, 0, ld * sizeof(A));
                continue;
            }
            read_row<C>(row, at(from, k.b, k.h, k.query[i], 0), from.dtype, from.stride[3], width);
            for (i64 e = width; e < ld; ++e) row[e] = 0;
            for (i64 e = 0; scale != 1 && e < ld; e += WIDE<C>) store(row + e, load(row + e) * C(scale));
        }
    }
}

// What multiplies the product of score gradients with queries or keys.
INLINE double product_scale(const Args& a) { return a.score == DISTANCE ? 2 * a.scale : a.score == DOT ? a.scale : 1.0; }

// One query's row as numbers of C, where it lies or copied to `held`.
template <class M>
INLINE const typename M::C* row_of(typename M::C* held, const Strided& from, const Block<M>& k, i64 lane, i64 width) {
    using C = typename M::C;
    const char* row = at(from, k.b, k.h, k.query[lane], 0);
    if (from.stride[3] == 1 && from.dtype == (sizeof(C) == 8 ? F64 : F32)) return (const C*)row;
    read_row<C>(held, row, from.dtype, from.stride[3], width);
    return held;
}

template <class M> static void begin_back(Back<M>& w, Tiles<M>& t) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    bool unseeing[LANES<M>], some = false;
    for (i64 i = 0; i < k.n; ++i) {
        unseeing[i] = k.start[i] >= k.end[i] || (a.normalizer != SIGMOID && stat<C>(a, k.b, k.h, TOTAL)[k.query[i]] == -C(__builtin_inf()));
        some |= unseeing[i];
    }
    const bool* hidden = some ? unseeing : nullptr;
    recall(a, k, w.known);
    read_query(t, k, w.q, hidden);
    turn_rows<M>(w.turned, k, a.grad_output, a.value_width, (char*)t.spare, hidden);
    keep_rows<M>(w.query, k, a.query, a.width, hidden, M::PAIR == 1 ? product_scale(a) : 1.0);
    keep_rows<M>(w.output, k, a.grad_output, a.value_width, hidden, 1.0);
    __builtin_memset(w.grad, 0, a.width * k.ld * sizeof(C));
    for (i64 i = 0; i < k.ld; ++i) {
        w.numbers[i] = w.sum[i] = w.of_bias[i] = w.of_prior[i] = w.delta[i] = 0;
        w.soft[i] = w.squared[i] = w.mass[i] = w.plain[i] = 0;
        bool real = i < k.n && !unseeing[i];
        w.extra[i] = real && a.grad_extra ? ((const C*)a.grad_extra)[(k.b * a.heads + k.h) * a.queries + k.query[i]] : C(0);
        if (!real || a.normalizer == SIGMOID || a.normalizer == ENTMAX || is_hard(a.normalizer)) continue;
        const C* output = row_of(t.spare, a.output, k, i, a.value_width);
        const C* grad = row_of(t.spare + round_up(a.value_width, 16), a.grad_output, k, i, a.value_width);
        Vec<C> sum = {};
        for (i64 e = 0; e < a.value_width; e += WIDE<C>) {
            i64 left = a.value_width - e;
            sum = fma(load_part(output + e, left), load_part(grad + e, left), sum);
        }
        w.delta[i] = sum_lanes<C>(sum);
    }
}

// What dropout multiplies a weight, and its gradient, by.
template <class M> INLINE Vec<typename M::C> dropped(const Args& a, const Block<M>& k, i64 i, i64 j) {
    using C = typename M::C;
    i64 threshold = (i64)__builtin_nearbyint(a.dropout * 4294967296.0) - 2147483648LL;
    return kept<C>(k.drop + i, j, threshold) * C(1 / (1 - a.dropout));
}

// The slope of entmax at a weight, w^(2 − α) on the support.
template <class C> INLINE Vec<C> slope(Vec<C> w, double alpha) {
    if (alpha == 2) return w > C(0) ? all(C(1)) : Vec<C>{};
    if (alpha == 1.5) return sqrtv(w);
    return powv(w, 2 - alpha);
}

// The gradients of the weights: the output's gradient times the values.
template <class M> static void meet_values(const Tiles<M>& t, const Back<M>& w, i64 tile, i64 j0, i64 n, typename M::C* g) {
    gemm<M, false>(n, w.k.nv, t.value_units, t.value.at + (j0 - tile) * t.value.row, t.value.row, t.value.step,
                   w.turned, w.k.ld, g, w.k.ld);
}

// Scores, weights in t.scores, gradients of the weights in `g`, dropout in both; in t.dense the divergence's gradient.
template <class M> static bool remake(Tiles<M>& t, Back<M>& w, i64 tile, i64 j0, i64 n, typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    C* s = t.scores;
    if (!score(t, k, w.q, tile, j0, n, s)) return false;
    if (a.normalizer == VARIATIONAL) {
        if (a.grad_extra) {
            if (a.prior_mean.at) read_dense<M>(t.dense, a.prior_mean, k, j0, n, t.spare);
            for (i64 i = 0; i < n * k.ld; i += W) {
                Vec<C> x = load(s + i), d = a.prior_mean.at ? x - load(t.dense + i) : x;
                store(t.dense + i, x == -C(__builtin_inf()) ? Vec<C>{} : d * C(1 / (a.prior_scale * a.prior_scale)));
            }
            if (a.grad_numbers) {
                double scale = number_of<C>(a, k.h);
                C each = C(scale / (a.prior_scale * a.prior_scale) - 1 / scale);
                for (i64 i = 0; i < k.ld; i += W) {
                    Vec<C> count = {};
                    for (i64 j = 0; j < n; ++j) count += load(s + j * k.ld + i) == -C(__builtin_inf()) ? Vec<C>{} : all(C(1));
                    store(w.numbers + i, fma(load(w.extra + i) * each, count, load(w.numbers + i)));
                }
            }
        }
        add_noise(a, k, j0, n, s);
    }
    if (is_hard(a.normalizer) && a.grad_extra) {
        // d ln softmax(s / T)_taken: 1 where taken, less the softmax; kept in t.dense, as is s / T for its own gradient.
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> base = load(w.known.second + i), extra = load(w.extra + i);
            IVec<C> taken = load_ints<C>((const Int<C>*)(w.known.third + i));
            for (i64 j = 0; j < n; ++j) {
                Vec<C> x = load(s + j * k.ld + i) * C(w.known.factor);
                Vec<C> p = exp2v(fma(x, all(C(1.44269504088896340736)), -base));
                store(t.dense + j * k.ld + i, extra * ((taken == Int<C>(j0 + j) ? all(C(1)) : Vec<C>{}) - p));
            }
        }
    }
    bool tempers = is_hard(a.normalizer) && a.grad_numbers;
    if (tempers) __builtin_memcpy(t.mask, s, n * k.ld * sizeof(C));  // what was visible is in s now
    weigh(t, k, w.known, j0, n, s);
    meet_values(t, w, tile, j0, n, g);
    if (a.dropout > 0)
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W) store(g + j * k.ld + i, load(g + j * k.ld + i) * dropped(a, k, i, j0 + j));
    return true;
}

// The sums over a row that its gradients need beforehand, where the output does not hold them.
template <class M> static void foresee(Tiles<M>& t, Back<M>& w, i64 n, const typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const C* s = t.scores;
    double alpha = number_of<C>(a, k.h);
    for (i64 i = 0; i < k.ld; i += W) {
        Vec<C> delta = load(w.delta + i), soft = load(w.soft + i), mass = load(w.mass + i);
        Vec<C> weighed = load(w.plain + i), surprised = load(w.squared + i);
        for (i64 j = 0; j < n; ++j) {
            Vec<C> p = load(s + j * k.ld + i), d = load(g + j * k.ld + i);
            if (a.normalizer != ENTMAX) {
                delta = fma(p, d, delta);
                continue;
            }
            Vec<C> f = slope<C>(p, alpha);
            soft += f;
            delta = fma(f, d, delta);
            if (a.grad_numbers) {
                Vec<C> surprise = p > C(0) ? -p * lnv(p) : Vec<C>{};
                mass += surprise;
                weighed = fma(p, d, weighed);
                surprised = fma(surprise, d, surprised);
            }
        }
        store(w.delta + i, delta), store(w.soft + i, soft), store(w.mass + i, mass);
        store(w.plain + i, weighed), store(w.squared + i, surprised);
    }
}
template <class M> static void foreseen(const Args& a, Back<M>& w) {
    using C = typename M::C;
    if (a.normalizer != ENTMAX) return;
    double less = number_of<C>(a, w.k.h) - 1;
    for (i64 i = 0; i < w.k.ld; ++i) {
        C share = w.soft[i] > 0 ? w.delta[i] / w.soft[i] : C(0);  // Σ share · dw
        w.delta[i] = share;
        if (i < w.k.n && a.grad_numbers)
            w.numbers[i] += C((w.plain[i] - share) / (less * less) + (w.squared[i] - share * w.mass[i]) / less);
    }
}

// From the gradients of the weights to those of the scores, in place in `g`; then the weights as they met the values.
template <class M> static void descend(Tiles<M>& t, Back<M>& w, i64 j0, i64 n, typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    C* s = t.scores;
    i64 kind = a.normalizer;
    double alpha = number_of<C>(a, k.h);
    bool through = kind == GUMBEL || kind == STRAIGHT_THROUGH;
    for (i64 i = 0; i < k.ld; i += W) {
        Vec<C> delta = load(w.delta + i), numbers = load(w.numbers + i), extra = load(w.extra + i);
        for (i64 j = 0; j < n; ++j) {
            Vec<C> p = load(s + j * k.ld + i), d = load(g + j * k.ld + i), r;
            if (kind == SIGMOID) {
                r = p * (C(1) - p) * d;
            } else if (kind == ENTMAX) {
                r = slope<C>(p, alpha) * (d - delta);
            } else if (is_hard(kind)) {
                r = through ? p * (d - delta) : Vec<C>{};
                if (a.grad_extra) r += load(t.dense + j * k.ld + i);
                r *= C(w.known.factor);
                if (a.grad_numbers) {
                    Vec<C> x = load(t.mask + j * k.ld + i);
                    x = x == -C(__builtin_inf()) ? Vec<C>{} : x;
                    numbers = fma(r * C(-w.known.factor), x, numbers);
                }
            } else {
                r = p * (d - delta);
                if (kind == VARIATIONAL) {
                    if (a.grad_numbers && a.seed) numbers = fma(r, normal<C>(k.noise + i, j0 + j), numbers);
                    if (a.grad_extra) r = fma(extra, load(t.dense + j * k.ld + i), r);
                }
            }
            store(g + j * k.ld + i, r);
        }
        store(w.numbers + i, numbers);
    }
    if (is_hard(kind)) one_hot(k, w.known, j0, n, s);
    if (a.dropout > 0)
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W) store(s + j * k.ld + i, load(s + j * k.ld + i) * dropped(a, k, i, j0 + j));
}

// A tile of gradients, times a number a lane if there is one, to the gradient of a tensor that was broadcast.
template <class M>
static void give(const Strided& to, i64 kind, const Block<M>& k, i64 split, i64 j0, i64 n, const typename M::C* g, const typename M::C* times,
                 typename M::C* of_query, typename M::C* spare) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    if (kind == OF_QUERIES) {
        for (i64 j = 0; j < n; ++j)
            for (i64 i = 0; i < k.ld; i += W) {
                Vec<C> x = load(g + j * k.ld + i);
                store(of_query + i, load(of_query + i) + (times ? x * -load(times + i) : x));
            }
    } else if (kind == OF_KEYS) {  // (B, H, splits, Lk)
        for (i64 j = 0; j < n; ++j) {
            Vec<C> sum = {};
            for (i64 i = 0; i < k.ld; i += W) {
                Vec<C> x = load(g + j * k.ld + i);
                for (int l = 0; l < W; ++l) x[l] = i + l < k.n ? x[l] : C(0);
                sum += times ? x * -load(times + i) : x;
            }
            *(C*)at(to, k.b, k.h, split, j0 + j) += sum_lanes<C>(sum);
        }
    } else {
        turn_back<C>(spare, KEYS, g, k.ld, k.n, n);
        for (i64 i = 0; i < k.n; ++i) {
            C* row = spare + i * KEYS;
            char* out = const_cast<char*>(at(to, k.b, k.h, k.query[i], j0));
            if (times)
                for (i64 j = 0; j < n; ++j) row[j] *= -times[i];
            if (kind == SHARED)
                for (i64 j = 0; j < n; ++j) row[j] += *(const C*)(out + j * to.stride[3] * sizeof(C));
            write_row<C>(out, to.dtype, to.stride[3], row, n);
        }
    }
}

template <class M> static void give_relative(const Args& a, const Block<M>& k, i64 split, i64 j0, i64 n, const typename M::C* g, typename M::C* spare) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    C* table = (C*)a.grad_relative + ((k.b * a.heads + k.h) * a.splits + split) * a.relative_length + a.relative_length - a.keys;
    i64 size = n + k.ld;
    __builtin_memset(spare, 0, size * sizeof(C));
    for (i64 j = 0; j < n; ++j)
        for (i64 i = 0; i < k.ld; i += W) {
            C* to = spare + n - 1 - j + i;
            store(to, load(to) + load(g + j * k.ld + i));
        }
    // Only real lanes reach an entry: those past the last have no gradient, but their place would be outside the table.
    for (i64 i = 0; i < n + k.n - 1; ++i) table[j0 + n - 1 - k.query[0] - i] += spare[i];
}

// Adds rows of W lanes up to one vector a W rows.
template <class C> INLINE Vec<C> sums(Vec<C>* rows) {
    transpose<C>(rows);
    Vec<C> total = rows[0];
    for (int i = 1; i < WIDE<C>; ++i) total += rows[i];
    return total;
}

template <class M> static void additive_back_few(Tiles<M>& t, Back<M>& w, const Sums<M>& to, i64 tile, i64 j0, i64 n, const typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const C* vector = (const C*)a.vector + k.h * a.width;
    C* grad_vector = a.grad_vector ? (C*)a.grad_vector + ((k.b * a.heads + k.h) * a.splits + to.split) * a.width : nullptr;
    const C* key = (const C*)t.key.at + (j0 - tile) * t.key.row;
    for (i64 i = 0; i < k.n; ++i)
        for (i64 e = 0; e < a.width; e += W) {
            i64 left = least(W, a.width - e);
            C query[W] = {}, grad[W];
            for (i64 l = 0; l < left; ++l) query[l] = ((const C*)w.q.turned)[(e + l) * k.ld + i];
            Vec<C> x = load(query), v = load_part(vector + e, left), of_query = {}, of_vector = {};
            for (i64 j = 0; j < n; ++j) {
                Vec<C> h = tanhv(x + load_part(key + j * t.key.row + e, left)), d = all(g[j * k.ld + i]);
                of_vector = fma(d, h, of_vector);
                Vec<C> r = fma(-d * h, h, d) * v;
                of_query += r;
                C* sum = to.key + (j0 + j) * to.key_row + e;
                store(sum, load(sum) + r);  // rows are whole vectors; where there is no width, v is 0
            }
            store(grad, of_query);
            for (i64 l = 0; l < left; ++l) w.grad[(e + l) * k.ld + i] += grad[l];
            if (grad_vector) store_part(grad_vector + e, load_part(grad_vector + e, left) + of_vector, left);
        }
}

// dv_e = Σ ds · tanh, dq_e = v_e Σ_j ds (1 − tanh²), dk_e = v_e Σ_i ds (1 − tanh²).
template <class M> static void additive_back(Tiles<M>& t, Back<M>& w, const Sums<M>& to, i64 tile, i64 j0, i64 n, const typename M::C* g) {
    using C = typename M::C;
    constexpr int W = WIDE<C>;
    const Args& a = t.a;
    Block<M>& k = w.k;
    const C* vector = (const C*)a.vector + k.h * a.width;
    C* grad_vector = a.grad_vector ? (C*)a.grad_vector + ((k.b * a.heads + k.h) * a.splits + to.split) * a.width : nullptr;
    const C* key = (const C*)t.key.at + (j0 - tile) * t.key.row;
    Vec<C> rows[KEYS];
    for (i64 e = 0; e < a.width; ++e) {
        Vec<C> of_vector = {};
        C v = vector[e];
        for (i64 j = 0; j < n; ++j) rows[j] = Vec<C>{};
        for (i64 i = 0; i < k.ld; i += W) {
            Vec<C> x = load((const C*)w.q.turned + e * k.ld + i), of_query = {};
            for (i64 j = 0; j < n; ++j) {
                Vec<C> h = tanhv(x + key[j * t.key.row + e * t.key.step]), d = load(g + j * k.ld + i);
                of_vector = fma(d, h, of_vector);
                Vec<C> r = fma(-d * h, h, d);
                of_query += r;
                rows[j] += r;
            }
            store(w.grad + e * k.ld + i, fma(of_query, all(v), load(w.grad + e * k.ld + i)));
        }
        if (grad_vector) grad_vector[e] += sum_lanes<C>(of_vector);
        for (i64 j = 0; j < n; j += W) {
            for (i64 l = n - j; l < W; ++l) rows[j + l] = Vec<C>{};
            Vec<C> total = sums<C>(rows + j);
            for (i64 l = 0; l < least(W, n - j); ++l) to.key[(j0 + j + l) * to.key_row + e] += v * total[l];
        }
    }
}

// A tile as the last three products take it: weights and gradients of scores by rows, for products along the queries, and
// those gradients for the product along the keys.
template <class M> struct Factors {
    const typename M::A *weights, *of_scores, *by_keys;
};

// A vector to bfloat16, to place `i` of rows of them.
template <class M> INLINE void pack_row(typename M::A* rows, i64 i, Vec<typename M::C> x) {
#if defined(__AVX512BF16__)
    if constexpr (M::PAIR == 2) {
        __m256i half = (__m256i)_mm512_cvtneps_pbh((__m512)x);
        __builtin_memcpy((char*)rows + i * 2, &half, 32);
    }
#endif
    (void)rows, (void)i, (void)x;
}

// Of the weights in t.scores and the gradients in `g`; `rounded` is room for both by rows, where they must be bfloat16.
template <class M> static Factors<M> factors(Tiles<M>& t, const typename M::C* g, i64 n, i64 ld, typename M::A* rounded) {
    if constexpr (M::PAIR == 1) {
        return {t.scores, g, g};
    } else {
        typename M::A* of_scores = rounded + n * ld / 2;
        for (i64 i = 0; i < n * ld; i += WIDE<typename M::C>)
            pack_row<M>(rounded, i, load(t.scores + i)), pack_row<M>(of_scores, i, load(g + i));
        return {rounded, of_scores, packed<M>(g, (typename M::A*)t.dense, n, ld)};
    }
}

// Softmax without options, which is most calls: all that stands between the products is one pass over the tile.
template <class M> INLINE bool is_plain(const Args& a) {
    return a.score == DOT && a.normalizer == SOFTMAX && !(a.dropout > 0) && !a.softcap && !a.grad_bias_kind && !a.grad_relative;
}
template <class M>
static Factors<M> descend_at_once(Tiles<M>& t, const Back<M>& w, i64 n, typename M::C* g, typename M::A* rounded) {
    using C = typename M::C;
    using A = typename M::A;
    i64 ld = w.k.ld;
    C* s = t.scores;
    A *of_scores = rounded + n * ld / 2, *by_keys = (A*)t.dense;
    for (i64 i = 0; i < ld; i += WIDE<C>) {
        Vec<C> base = load(w.known.total + i), delta = load(w.delta + i);
        auto weight = [&](i64 j) { return exp2v<M::PAIR == 1>(fma(load(s + j * ld + i), all(t.exponent), -base)); };
        auto of_score = [&](i64 j, Vec<C> p) { return p * (load(g + j * ld + i) - delta); };
        if constexpr (M::PAIR == 1) {
            for (i64 j = 0; j < n; ++j) {
                Vec<C> p = weight(j);
                store(s + j * ld + i, p), store(g + j * ld + i, of_score(j, p));
            }
        } else {
            for (i64 j = 0; j < n; j += 2) {
                bool both = j + 1 < n;
                i64 next = both ? j + 1 : j;
                Vec<C> one = weight(j), two = weight(next), r = of_score(j, one), q = of_score(next, two);
                pack_row<M>(rounded, j * ld + i, one), pack_row<M>(rounded, next * ld + i, two);
                pack_row<M>(of_scores, j * ld + i, r), pack_row<M>(of_scores, next * ld + i, q);
                pack_pair<M>(by_keys + j / 2 * ld + i, r, both ? q : Vec<C>{});
            }
        }
    }
    if constexpr (M::PAIR == 1) return {s, g, g};
    return {rounded, of_scores, by_keys};
}

template <class M> static void give_values(const Back<M>& w, const Sums<M>& to, i64 j0, i64 n, const Factors<M>& f) {
    i64 rows = w.k.ld / M::PAIR, row = to.value_row;
    gemm<M, true>(n, row / WIDE<typename M::C>, rows, f.weights, rows, 1, w.output, row, to.value + j0 * row, row);
}
template <class M> static void give_keys(const Back<M>& w, const Sums<M>& to, i64 j0, i64 n, const Factors<M>& f) {
    i64 rows = w.k.ld / M::PAIR, row = to.key_row;
    gemm<M, true>(n, row / WIDE<typename M::C>, rows, f.of_scores, rows, 1, w.query, row, to.key + j0 * row, row);
}
template <class M> static void give_queries(const Tiles<M>& t, Back<M>& w, i64 tile, i64 j0, i64 n, const Factors<M>& f) {
    fill<M>(f.by_keys, n, w.k.ld);
    gemm<M, true>(t.a.width, w.k.nv, units<M>(n), t.mixing.at + (j0 - tile) / M::PAIR * t.mixing.row, t.mixing.step,
                  t.mixing.row, f.by_keys, w.k.ld, w.grad, w.k.ld);
}

// What of the keys' gradients of a distance is not a product.
template <class M> static void distance_back(const Tiles<M>& t, Back<M>& w, const Sums<M>& to, i64 tile, i64 j0, i64 n, const typename M::C* g) {
    using C = typename M::C;
    const Args& a = t.a;
    i64 ld = w.k.ld;
    for (i64 j = 0; j < n; ++j) {
        Vec<C> sum = {};
        for (i64 i = 0; i < ld; i += WIDE<C>) {
            Vec<C> x = load(g + j * ld + i);
            sum += x;
            store(w.sum + i, load(w.sum + i) + x);
        }
        C total = C(-2 * a.scale) * sum_lanes<C>(sum);
        const C* key = (const C*)t.key.at + (j0 - tile + j) * t.key.row;
        for (i64 e = 0; e < a.width; ++e) to.key[(j0 + j) * to.key_row + e] += total * key[e * t.key.step];
    }
}

template <class M>
static void back_step(Tiles<M>& t, Back<M>& w, const Sums<M>& to, i64 tile, i64 tile_keys, typename M::C* g, typename M::A* rounded, int pass) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    i64 j0 = most(tile, k.low), end = least(tile + tile_keys, k.high);
    if (j0 >= end) return;
    j0 -= (j0 - tile) % 2;  // for pairs, and so that sums by twos go the same way whatever the first key is
    i64 n = end - j0;
    if (is_plain<M>(a) && k.n == k.ld) {
        if (!score(t, k, w.q, tile, j0, n, t.scores)) return;
        meet_values(t, w, tile, j0, n, g);
        Factors<M> f = descend_at_once(t, w, n, g, rounded);
        give_values(w, to, j0, n, f);
        give_keys(w, to, j0, n, f);
        give_queries(t, w, tile, j0, n, f);
        return;
    }
    if (!remake(t, w, tile, j0, n, g)) return;
    if (pass == 0) return foresee(t, w, n, g);
    descend(t, w, j0, n, g);
    if (k.n < k.ld)  // lanes without a query have no gradient
        for (i64 j = 0; j < n; ++j)
            for (i64 i = k.n; i < k.ld; ++i) g[j * k.ld + i] = t.scores[j * k.ld + i] = 0;
    if (a.grad_prior_kind && (a.grad_prior_kind != SHARED) == (pass == 1))
        give<M>(a.grad_prior_mean, a.grad_prior_kind, k, to.split, j0, n, t.dense, w.extra, w.of_prior, t.spare);
    if (a.grad_bias_kind && (a.grad_bias_kind != SHARED) == (pass == 1))
        give<M>(a.grad_bias, a.grad_bias_kind, k, to.split, j0, n, g, nullptr, w.of_bias, t.spare);
    if (pass == 2) return;
    if (a.grad_relative) give_relative(a, k, to.split, j0, n, g, t.spare);
    if (a.softcap)
        for (i64 i = 0; i < n * k.ld; i += WIDE<C>) store(g + i, load(g + i) * load(t.slope + i));
    Factors<M> f = factors(t, g, n, k.ld, rounded);
    give_values(w, to, j0, n, f);
    if (a.score == ADDITIVE) {
        if constexpr (M::PAIR == 1) (along_the_width(t, k) ? additive_back_few<M> : additive_back<M>)(t, w, to, tile, j0, n, g);
        return;
    }
    give_keys(w, to, j0, n, f);
    if constexpr (M::PAIR == 1)
        if (a.score == DISTANCE) distance_back(t, w, to, tile, j0, n, g);
    give_queries(t, w, tile, j0, n, f);
}

template <class M> static void finish_back(Tiles<M>& t, Back<M>& w) {
    using C = typename M::C;
    const Args& a = t.a;
    Block<M>& k = w.k;
    C scale = C(product_scale(a));
    for (i64 e = 0; e < a.width; ++e)
        for (i64 i = 0; i < k.ld; ++i) {
            C x = w.grad[e * k.ld + i] * scale;
            if constexpr (M::PAIR == 1)
                if (a.score == DISTANCE) x -= 2 * C(a.scale) * w.sum[i] * w.q.turned[e * k.ld + i];
            w.grad[e * k.ld + i] = x;
        }
    write_turned(t, k, a.grad_query, a.width, w.grad);
    for (i64 i = 0; i < k.n; ++i) {
        i64 q = k.query[i];
        i64 row = (k.b * a.heads + k.h) * a.queries + q;
        if (a.grad_numbers) ((C*)a.grad_numbers)[row] = w.numbers[i];
        if (a.grad_bias_kind == OF_QUERIES) *(C*)at(a.grad_bias, k.b, k.h, q, 0) = w.of_bias[i];
        if (a.grad_prior_kind == OF_QUERIES) *(C*)at(a.grad_prior_mean, k.b, k.h, q, 0) = w.of_prior[i];
    }
}
