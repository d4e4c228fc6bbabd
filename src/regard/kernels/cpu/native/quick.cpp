// Softmax attention without options, straight from PyTorch's tensors. A small call costs what it costs to get to its kernel:
// here a tensor is read in a tenth of a microsecond, and what a call that has no options does not need is not looked at.
#include <cmath>
#include <limits>
#include <new>
#include <utility>
#include <vector>
#include "args.h"

extern "C" const char* regard_forward(const void* args);
extern "C" int regard_all_finite(const void* extent, i64 threads);

namespace {
// How a tensor is lent: DLPack's DLTensor, version 1 (https://dmlc.github.io/dlpack/latest/c_api.html).
struct Lent {
    char* at;
    int32_t device, device_id, rank;
    uint8_t kind, bits;
    uint16_t lanes;
    i64 *size, *stride;
    uint64_t offset;
};
constexpr int32_t ON_CPU = 1;
constexpr uint8_t FLOAT = 2, BFLOAT = 4;

// What Python hands over once: PyTorch's function that lends, and Python's own that let go of its lock and take it again.
struct Python {
    int (*lend)(void* object, Lent* to);
    void* (*let_go)();
    void (*take)(void*);
};

i64 dtype_of(const Lent& x) {
    if (x.lanes != 1) return -1;
    if (x.kind == BFLOAT && x.bits == 16) return BF16;
    if (x.kind != FLOAT) return -1;
    return x.bits == 32 ? F32 : x.bits == 64 ? F64 : x.bits == 16 ? F16 : -1;
}

// A tensor of two to four dimensions as one of four, and how many it has; 0: it is something else.
int as_extent(const Python& python, void* object, Extent& to) {
    Lent x;
    if (python.lend(object, &x) != 0 || x.device != ON_CPU || x.rank < 2 || x.rank > 4) return 0;
    to.from = {x.at + x.offset, dtype_of(x), {0, 0, 0, 0}};
    for (int d = 0; d < 4; ++d) {
        int own = d - (4 - x.rank);
        to.size[d] = own < 0 ? 1 : x.size[own];
        to.from.stride[d] = own < 0 ? 0 : x.stride[own];
        if (to.size[d] < 1) return 0;
    }
    return to.from.dtype >= 0 ? x.rank : 0;
}

bool fit(const Extent& q, const Extent& k, const Extent& v, const Extent& o) {
    for (const Extent* x : {&k, &v, &o})
        if (x->from.dtype != q.from.dtype || x->size[0] != q.size[0]) return false;
    return k.size[3] == q.size[3] && v.size[1] == k.size[1] && v.size[2] == k.size[2] && q.size[1] % k.size[1] == 0 &&
           o.size[1] == q.size[1] && o.size[2] == q.size[2] && o.size[3] == v.size[3];
}

constexpr i64 NO_MASK = std::numeric_limits<i64>::max(), LAST_SEES_ALL = NO_MASK - 1;
enum Done { DONE = 0, NOT_HERE = 1, NO_MEMORY = 2 };

Done attend(const Python& python, Args& a, i64 causal, const Extent& k, const Extent& v) {
    std::vector<char> stats(a.batch * a.heads * STATS * a.queries * (a.dtype == F64 ? 8 : 4));
    a.stats = stats.data();
    std::vector<i64> end;
    if (causal != NO_MASK) {
        // What is masked must leave no trace, and 0 · NaN is NaN.
        if (!regard_all_finite(&k, a.threads) || !regard_all_finite(&v, a.threads)) return NOT_HERE;
        i64 offset = causal == LAST_SEES_ALL ? a.keys - a.queries : causal;
        end.resize(a.queries);
        for (i64 i = 0; i < a.queries; ++i) {
            i64 one_past = i + offset + 1;
            end[i] = one_past < 0 ? 0 : one_past > a.keys ? a.keys : one_past;
        }
        a.end = {(char*)end.data(), F64, {0, 0, a.queries > 1, 0}};
    }
    // Others may run meanwhile, unless it is over before they could begin.
    constexpr i64 WORTH_IT = i64(1) << 18;
    bool others = a.batch * a.heads * a.queries * a.keys * (a.width + a.value_width) > WORTH_IT;
    void* lock = others ? python.let_go() : nullptr;
    const char* failed = regard_forward(&a);
    if (others) python.take(lock);
    return failed ? NO_MEMORY : DONE;
}
}  // namespace

// Write softmax(scale · query keyᵀ) value to `output`. A scale that is NaN stands for one over the root of the width. `causal`:
// query i sees the keys up to i + causal, or one of the two above.
extern "C" __attribute__((visibility("default"))) int regard_quick(
    const Python* python, void* query, void* key, void* value, void* output, double scale, i64 causal, i64 threads, i64 level
) {
    Extent q, k, v, o;
    int rank = as_extent(*python, query, q);
    if (!rank) return NOT_HERE;
    for (auto [object, extent] : {std::pair{key, &k}, {value, &v}, {output, &o}})
        if (as_extent(*python, object, *extent) != rank) return NOT_HERE;
    if (!fit(q, k, v, o)) return NOT_HERE;
    Args a{};
    a.batch = q.size[0], a.heads = q.size[1], a.key_heads = k.size[1], a.queries = q.size[2], a.keys = k.size[2];
    a.width = q.size[3], a.value_width = v.size[3], a.dtype = q.from.dtype, a.threads = threads, a.level = level;
    a.scale = std::isnan(scale) ? std::pow((double)a.width, -0.5) : scale, a.query = q.from, a.key = k.from, a.value = v.from, a.output = o.from;
    a.number = a.prior_scale = 1, a.block = a.splits = 1;
    try {
        return attend(*python, a, causal, k, v);
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}
