// The arguments of a step of decoding: a Transformer's layers, their caches, and the rows of the step. `step.py` has
// the same fields in the same order. Every field is eight bytes wide, so there is no padding.
#pragma once
#include "args.h"

enum Activation : i64 { RELU = 0, GELU = 1, GATED = 2 };  // GATED: silu(first half) · second half
enum NormKind : i64 { LAYER_NORM = 0, RMS_NORM = 1 };

// A product with a packed weight; without data if there is none.
struct StepProduct {
    Packed weight;
    const float* bias;  // (outputs,), or null
};

// A normalization: its parameters `(dim,)`; null: 1 and 0.
struct StepNorm {
    const float *weight, *bias;
    double eps;
};

struct StepLayer {
    StepNorm attend_norm, cross_norm, feed_norm;
    StepProduct joined;  // queries, keys and values of the self-attention
    StepProduct attend_output, cross_query, cross_output, inner, outer;
};

struct StepModel {
    const StepLayer* layers;
    i64 layer_count, dim, hidden, heads, key_heads, width;
    i64 pre, norm, activation;
    i64 cross;   // whether there is attention to a memory
    i64 shown;   // the layer whose attention to the memory is reported
    i64 tokens;  // the number of outputs
    i64 dtype;   // of caches and memories: F32 or BF16
    double embedding_scale, attend_scale, cross_scale;
    const float* positions;    // (places, dim), added to the embeddings; or null
    const float *own, *other;  // (places, turned), the factors of rotary positions; or null
    i64 turned, interleaved, places;
    i64 ends_normed;  // whether `last` is there
    StepNorm last;
    StepProduct output;
};

// A row: the number of its keys before this step, which is where the new one is written, the position of its token, and
// the first key that it sees. The memory of its source: keys and values (layers, 2, heads, room, width), of which
// `length` are real.
struct StepRow {
    i64 cached, place, first;
    const char* memory;
    i64 length, room;
};

struct StepCall {
    const StepModel* model;
    i64 rows;
    const i64* tokens;      // (rows,)
    StepRow* row;           // (rows,); `cached` and `place` are one more after the step
    const char* embedding;  // (embeddings, dim)
    i64 embedding_dtype, embeddings;
    char* cache;  // (layers, 2, slots, key heads, room, width)
    i64 slots, room;
    i64 window;       // the number of keys that a row sees at most; 0: all
    int32_t* slot;    // (rows, room): the slot of each key; the row itself is the slot of the new one
    float* features;  // (rows, dim)
    float* logits;    // (rows, output.weight.outputs)
    float* weights;   // (rows, weights_width): attention to the memory, averaged over heads; or null
    i64 weights_width;
    i64 threads, level;
};

// All tokens of a batch through layers without a memory: those of an encoder, or the prompts of a decoder.
struct EncodeCall {
    const StepModel* model;
    i64 batch, length;
    i64* ends;  // (batch,): keys from here on are hidden; or with `causal`, (length,): from here on for each query
    i64 causal;
    float* x;     // (batch, length, dim): embedded tokens, in whose place the outputs are written
    char* cache;  // (layers, 2, slots, key heads, room, width), where keys and values are written; or null
    i64 slots, room;
    float* logits;  // (batch, tokens), of the last position; or null
    i64 threads, level;
};
