// The largest numbers of a row of logits, in order, and the row's log-sum-exp, in one pass over its memory.
#pragma once
#include "parallel.h"
#include "vmath.h"

namespace REGARD_LEVEL {
// The largest numbers so far, in descending order; of equal ones, the lowest token first. Tokens come in ascending
// order.
struct Largest {
    float* value;
    i64* token;
    i64 size;
    void insert(float x, i64 at, i64 held) {
        i64 place = held;
        for (; place > 0 && value[place - 1] < x; --place)
            if (place < size) value[place] = value[place - 1], token[place] = token[place - 1];
        if (place < size) value[place] = x, token[place] = at;
    }
    float least() const { return value[size - 1]; }
};

// A block of a row, small enough to stay in the first-level cache between its two passes, is searched by groups.
constexpr int LOGIT_GROUP = 8 * WIDE<float>, LOGIT_GROUPS = 8;
constexpr i64 BLOCK_LOGITS = LOGIT_GROUP * LOGIT_GROUPS;

// Inserts the numbers of a block, from token `from` on, that are above the least. `largest` are the largest numbers of
// each lane of each group.
static void insert_block(const float* block, const f32v* largest, i64 from, Largest& best) {
    for (int g = 0; g < LOGIT_GROUPS; ++g) {
        if (!any(largest[g] > splat(best.least()))) continue;
        for (int j = g * LOGIT_GROUP; j < (g + 1) * LOGIT_GROUP; j += WIDE<float>) {
            f32v v = load(block + j);
            if (!any(v > splat(best.least()))) continue;
            for (int i = 0; i < WIDE<float>; ++i)
                if (v[i] > best.least() && from + j + i >= best.size) best.insert(v[i], from + j + i, best.size);
        }
    }
}

// The log-sum-exp of `n` numbers, whose `best.size` ≤ n largest are written to `best`. NaN if one is NaN or +∞.
static float largest_of_row(const float* x, i64 n, Largest best) {
    constexpr int W = WIDE<float>;
    constexpr float infinity = __builtin_inff(), log2e = 1.44269504088896340736f;
    for (i64 j = 0; j < best.size; ++j) best.insert(x[j], j, j);
    float top = -infinity;
    f32v sum = {};
    i32v wrong = {};
    for (i64 from = 0; from < n; from += BLOCK_LOGITS) {
        alignas(64) float last[BLOCK_LOGITS];
        const float* block = x + from;
        if (n - from < BLOCK_LOGITS) {
            i64 count = n - from;
            __builtin_memcpy(last, block, count * sizeof(float));
            for (i64 j = count; j < BLOCK_LOGITS; ++j) last[j] = -infinity;
            block = last;
        }
        f32v largest[LOGIT_GROUPS], all = splat(top);
        for (int g = 0; g < LOGIT_GROUPS; ++g) {
            largest[g] = splat(-infinity);
            for (int j = g * LOGIT_GROUP; j < (g + 1) * LOGIT_GROUP; j += W)
                largest[g] = maxv(load(block + j), largest[g]);
            all = maxv(largest[g], all);
        }
        float before = top;
        for (int i = 0; i < W; ++i) top = all[i] > top ? all[i] : top;
        insert_block(block, largest, from, best);
        if (top > before && before > -infinity) sum = sum * exp2_of_term(splat((before - top) * log2e));
        float pivot = top == -infinity ? 0 : top;  // −∞ − −∞ is NaN
        f32v even = {}, odd = {};
        for (i64 j = 0; j < BLOCK_LOGITS; j += 2 * W) {
            f32v a = load(block + j) - pivot, b = load(block + j + W) - pivot;
            wrong = wrong | (a != a) | (b != b);
            even += exp2_of_term(a * log2e);
            odd += exp2_of_term(b * log2e);
        }
        sum += even + odd;
    }
    if (any(wrong)) return __builtin_nanf("");
    return top == -infinity ? top : top + lnv(splat(sum_lanes<float>(sum)))[0];
}

static void best_tokens_of_row(void* context, i64 row, char*) {
    const BestTokens& b = *(const BestTokens*)context;
    Largest best{b.values + row * b.count, b.tokens + row * b.count, b.count};
    b.sums[row] = largest_of_row(b.logits + row * b.stride, b.vocabulary, best);
}

static void best_tokens(const BestTokens& b) {
    constexpr i64 LONG = i64(1) << 16;  // shorter calls end before another thread could start
    parallel(b.rows, b.rows * b.vocabulary < LONG ? 1 : b.threads, best_tokens_of_row, (void*)&b, 0);
}
}  // namespace REGARD_LEVEL
