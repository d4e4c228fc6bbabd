// The arguments of one call: numbers, pointers, and strides in elements. `call.py` packs the same fields in the same
// order. Every field is eight bytes wide, so there is no padding.
#pragma once
#include <cstdint>

using i64 = int64_t;

enum Dtype : i64 { F32 = 0, F64 = 1, BF16 = 2, F16 = 3, BOOL = 4, I8 = 5 };
enum Score : i64 { DOT = 0, ADDITIVE = 1, DISTANCE = 2 };
enum Normalizer : i64 {
    SOFTMAX = 0,
    ENTMAX = 1,
    SIGMOID = 2,
    TOPK = 3,
    ARGMAX = 4,
    GUMBEL = 5,
    REINFORCE = 6,
    STRAIGHT_THROUGH = 7,
    VARIATIONAL = 8
};

// A tensor of four dimensions, the first two of which are batch and head; null if it is absent.
struct Strided {
    char* at;
    i64 dtype;
    i64 stride[4];
};

// A tensor and its size.
struct Extent {
    Strided from;
    i64 size[4];
};

struct Args {
    // Every call.
    i64 batch, heads, key_heads, queries, keys, width, value_width;
    i64 dtype, score, normalizer, threads, level;
    double scale;
    Strided query, key, value, output;
    // (B, H, STATS, Lq) in the compute dtype: statistics of each query for the backward pass and for looks; null in a
    // forward pass: not requested
    char* stats;
    // Set to 1 by decode.h if a score or an output is not finite; null: not requested.
    i64* nonfinite;

    // Options of the mechanism.
    double softcap, number, prior_scale, dropout;
    i64 count, block;
    char *vector, *sink, *numbers;  // (H, E), (H,), (H or 1,), in the compute dtype
    i64 number_stride;
    char* relative;  // (H or 1, D), D = Lq + Lk − 1
    i64 relative_stride, relative_length;
    Strided bias, prior_mean, visible, layout;
    Strided start, end;  // int64, the last stride unused
    i64 *seed, *dropout_seed;
    unsigned char* bad;  // (B, Hk, Lk): which keys are not finite; null: none
    char* extra;         // (B, H, Lq)

    // Backward pass.
    Strided grad_output, grad_query, grad_key, grad_value;
    char* grad_extra;  // (B, H, Lq)
    i64 splits;        // number of parts into which the queries of one key head are divided; each has separate sums
    // (B, H, splits, E), (B, H, splits, D), (B, H, Lq); null: not requested
    char *grad_vector, *grad_relative, *grad_numbers;
    Strided grad_bias, grad_prior_mean;  // in the layout that the next two fields give, a GradientKind each
    i64 grad_bias_kind, grad_prior_kind;

    // Looks.
    char *entropy, *reach, *received;  // (B, H, Lq), (B, H, Lq), (B, H, splits, Lk)
    char* top_weights;                 // (B, H, Lq, top)
    i64* top_keys;
    i64 top;
    char *map_sum, *map_max;  // (B, H, splits, rows, columns)
    i64 map_rows, map_columns;
    char* weights;  // (B, H, chosen_queries, chosen_keys)
    i64 *chosen_queries, *chosen_keys;
    i64 chosen_query_count, chosen_key_count;
};

// Dropout factors for `count` contiguous numbers of `size` bytes each: 0, or the number whose bits are `kept`.
struct Units {
    char* to;
    i64 count, size, seed;
    i64 keep_threshold;  // a unit is kept if its random bits, signed, are at least this
    i64 kept, threads, level;
};

// A weight (outputs, inputs) that was packed: see packed.h.
struct Packed {
    i64 outputs, inputs, kind;  // kind: F32, BF16 or I8
    char* data;
    float* scales;  // I8: one for each output, in full panels; else null
};
// Packs a weight from `from`, whose rows are `stride` numbers apart.
struct Packing {
    Packed to;
    const char* from;
    i64 dtype, stride, threads, level;
};
// y = x · weightᵀ + bias in float32, with strides of rows in numbers; `bias` may be null.
struct PackedLinear {
    Packed weight;
    const char *x, *bias;
    char* y;
    i64 rows, x_stride, y_stride, threads, level;
};

// The `count` largest of each row of logits, and the row's log-sum-exp.
struct BestTokens {
    const float* logits;  // (rows, vocabulary)
    i64 stride, rows, vocabulary, count;
    float* values;  // (rows, count)
    i64* tokens;    // (rows, count)
    float* sums;    // (rows,)
    i64 threads, level;
};

// An extension of a beam that ends.
struct Ended {
    i64 sentence;
    double score;
    i64 row;
};

// A step of beam search: the extensions of each sentence's beams by one token, ordered by score.
struct Extension {
    BestTokens best;  // without its results
    i64 sentences, beam, eos;
    i64 normalized;       // whether logits are added up as they are
    const float* scores;  // (rows,); −∞: the row is not live
    // (sentences, live): the best that do not end, their rows in this step, and their tokens
    float* live_scores;
    i64 *live_rows, *live_tokens, live;
    double* tops;  // (sentences,): the first of `live_scores`
    Ended* ended;  // up to (sentences * beam,): those among the first `beam`, in the order of sentences and scores
};

// Work on the rows of a contiguous matrix: see rows.h, which says what the tensors are for each kind.
enum class RowKind : i64 { GELU = 0, GELU_BACKWARD = 1, NORM = 2, NORM_BACKWARD = 3, ENTROPY = 4 };
struct Rows {
    RowKind kind;
    i64 rows, width, dtype, threads, level;
    double number;
    char* at[7];
};

// The rows of `stats`. The meaning of LSE, REST and OWN depends on the normalizer: see `weights.h`.
enum Stat { TOP = 0, LSE = 1, REST = 2, POISON = 3, OWN = 4, STATS = 5 };

// The functions of vmath.h, for their test.
enum VectorFunction : i64 {
    EXP2 = 0,
    EXP2_COARSE = 1,
    LOG = 2,
    TANH = 3,
    TANH_SMALL = 4,
    SQRT = 5,
    POW = 6,
    ERFINV = 7
};

struct StepCall;  // of step_args.h
struct EncodeCall;

// The functions of one level, that is, one instruction set.
struct Level {
    const char* name;
    void (*forward)(const Args&);
    void (*forward_in_tiles)(const Args&);  // the same without decode.h
    bool (*decodes)(const Args&);           // whether `forward` is by decode.h
    void (*backward)(const Args&);
    void (*look)(const Args&);
    void (*drop)(const Units&);
    void (*pack)(const Packing&);
    i64 (*packed_bytes)(i64 outputs, i64 inputs, i64 kind, bool scales);
    void (*linear)(const PackedLinear&);
    void (*best)(const BestTokens&);
    void (*step)(const StepCall&);
    void (*encode)(const EncodeCall&);
    void (*work_on_rows)(const Rows&);
    // A vector function, for its test.
    void (*vmath)(i64 function, i64 dtype, const void* from, void* to, i64 n, double power);
    double (*peak)(i64 dtype, i64 times);  // runs `times` rounds of multiply-adds; returns their number of operations
};
