// Softmax attention without options and its gradient, reading PyTorch's tensors through DLPack. The time of a small
// call is mostly the time until its kernel starts: this path reads a tensor in a tenth of a microsecond and skips
// everything that only options need.
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>
#include <vector>
#include "args.h"
#include "third_party/dlpack.h"

extern "C" const char* regard_forward(const void* args);
extern "C" const char* regard_backward(const void* args);
extern "C" int regard_decodes(const void* args);
extern "C" int regard_all_finite(const void* extent, i64 threads);

namespace {
// Pointers that Python passes: PyTorch's table of DLPack functions, CPython's functions that release and acquire the
// interpreter lock and that convert numbers, and others.
struct Python {
    const DLPackExchangeAPI* dlpack;
    void* (*release_lock)();
    void (*acquire_lock)(void*);
    double (*as_double)(void*);
    long long (*as_integer)(void*);
    void* (*to_integer)(long);
    void* (*error)();  // the exception that is set, or null
    void* none;
};
Python python;  // set by regard_quick_begin, before the first call

// Reads a tensor's memory, type and strides, which are valid while Python keeps the tensor. False if it is not in CPU
// memory.
bool view(void* object, DLTensor& to) {
    return python.dlpack->dltensor_from_py_object_no_sync(object, &to) == 0 && to.device.device_type == kDLCPU &&
           to.data;
}
char* begin_of(const DLTensor& x) { return (char*)x.data + x.byte_offset; }

// Releases the interpreter lock until the end of the scope.
struct LockReleased {
    void* lock;
    LockReleased() : lock(python.release_lock()) {}
    ~LockReleased() { python.acquire_lock(lock); }
};

i64 dtype_of(DLDataType x) {
    if (x.lanes != 1) return -1;
    if (x.code == kDLBfloat && x.bits == 16) return BF16;
    if (x.code != kDLFloat) return -1;
    return x.bits == 32 ? i64(F32) : x.bits == 64 ? i64(F64) : x.bits == 16 ? i64(F16) : -1;
}

// Reads a tensor of two to four dimensions as one of four. Returns its number of dimensions, or 0 for any other object.
int as_extent(void* object, Extent& to) {
    DLTensor x;
    if (!view(object, x) || x.ndim < 2 || x.ndim > 4) return 0;
    to.from = {begin_of(x), dtype_of(x.dtype), {0, 0, 0, 0}};
    for (int d = 0; d < 4; ++d) {
        int own = d - (4 - x.ndim);
        to.size[d] = own < 0 ? 1 : x.shape[own];
        to.from.stride[d] = own < 0 ? 0 : x.strides[own];
        if (to.size[d] < 1) return 0;
    }
    return to.from.dtype >= 0 ? x.ndim : 0;
}

// The tensors of a call, and whether all could be read and have matching shapes and dtypes.
struct Tensors {
    Extent q, k, v, o;
    bool fit;
    Tensors(void* query, void* key, void* value, void* output) {
        int rank = as_extent(query, q);
        fit = rank > 0;
        for (auto [object, extent] : {std::pair{key, &k}, {value, &v}, {output, &o}})
            fit = fit && as_extent(object, *extent) == rank && extent->from.dtype == q.from.dtype &&
                  extent->size[0] == q.size[0];
        fit = fit && k.size[3] == q.size[3] && v.size[1] == k.size[1] && v.size[2] == k.size[2] &&
              q.size[1] % k.size[1] == 0 && o.size[1] == q.size[1] && o.size[2] == q.size[2];
    }
};

constexpr i64 NO_MASK = std::numeric_limits<i64>::max(), LAST_SEES_ALL = NO_MASK - 1;
// OTHER_WIDTH: `output` needs the width of `value`.
enum Status { DONE = 0, UNSUPPORTED = 1, NO_MEMORY = 2, OTHER_WIDTH = 3 };

// The arguments of a call besides its tensors. `lengths`: int64 (B,), the number of visible keys of each sequence, or
// Python's None. `causal`: query i sees the keys up to i + causal; or NO_MASK or LAST_SEES_ALL. `scale`: NaN means
// 1/√E.
struct Options {
    void* lengths;
    double scale;
    i64 causal, threads, level;
};

struct Call {
    Args a{};
    std::vector<i64> end;
    bool fit = true;

    Call(const Tensors& t, const Options& options) {
        a.batch = t.q.size[0], a.heads = t.q.size[1], a.key_heads = t.k.size[1], a.queries = t.q.size[2],
        a.keys = t.k.size[2];
        a.width = t.q.size[3], a.value_width = t.v.size[3], a.dtype = t.q.from.dtype, a.threads = options.threads,
        a.level = options.level;
        a.query = t.q.from, a.key = t.k.from, a.value = t.v.from, a.output = t.o.from;
        a.scale = std::isnan(options.scale) ? std::pow((double)a.width, -0.5) : options.scale;
        a.number = a.prior_scale = 1, a.block = a.splits = 1;
        if (options.lengths != python.none) mask_by_lengths(options.lengths);
        if (options.causal != NO_MASK)
            mask_causally(options.causal == LAST_SEES_ALL ? a.keys - a.queries : options.causal);
    }

    void mask_causally(i64 offset) {
        fit = fit && !a.end.at;
        end.resize(a.queries);
        for (i64 i = 0; i < a.queries; ++i) {
            i64 one_past = i + offset + 1;
            end[i] = one_past < 0 ? 0 : one_past > a.keys ? a.keys : one_past;
        }
        a.end = {(char*)end.data(), F64, {0, 0, a.queries > 1, 0}};
    }

    void mask_by_lengths(void* lengths) {
        DLTensor x;
        fit = view(lengths, x) && x.ndim == 1 && x.dtype.code == kDLInt && x.dtype.bits == 64 && x.shape[0] == a.batch;
        if (!fit) return;
        end.resize(a.batch);
        for (i64 b = 0; b < a.batch; ++b) {
            end[b] = ((const i64*)begin_of(x))[b * x.strides[0]];
            fit = fit && end[b] >= 0 && end[b] <= a.keys;
        }
        a.end = {(char*)end.data(), F64, {a.batch > 1, 0, 0, 0}};
    }

    template <class F> Status run(F compute) {
        constexpr i64 LONG = i64(1) << 18;  // shorter calls end before another thread could start
        if (a.batch * a.heads * a.queries * a.keys * (a.width + a.value_width) < LONG) return compute();
        LockReleased released;
        return compute();
    }
};

char* address(void* object) {
    DLTensor x;
    return view(object, x) ? begin_of(x) : nullptr;
}

// Whether the environment names a backend, as Python reads it in backends.py, which takes it a microsecond.
bool is_pinned() {
    const char* name = std::getenv("REGARD_BACKEND");
    return name && *name;
}

Status attend(void* query, void* key, void* value, void* output, void* stats, const Options& options) {
    Tensors t(query, key, value, output);
    if (!t.fit || is_pinned()) return UNSUPPORTED;
    if (t.o.size[3] != t.v.size[3]) return OTHER_WIDTH;
    try {
        Call call(t, options);
        if (!call.fit) return UNSUPPORTED;
        Args& a = call.a;
        if (stats != python.none && !(a.stats = address(stats))) return UNSUPPORTED;
        return call.run([&] {
            // A masked key must have no influence, but 0 · NaN is NaN: the general path handles it. With few queries,
            // the kernel detects it, so that keys and values are read once.
            i64 nonfinite = 0;
            if (a.end.at && !a.stats && regard_decodes(&a)) {
                a.nonfinite = &nonfinite;
            } else if (a.end.at &&
                       !(regard_all_finite(&t.k, options.threads) && regard_all_finite(&t.v, options.threads))) {
                return UNSUPPORTED;
            }
            return regard_forward(&a) ? NO_MEMORY : nonfinite ? UNSUPPORTED : DONE;
        });
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}
}  // namespace

// Sets the pointers. Returns whether the version of PyTorch's table is supported and the table has the function that is
// called here.
extern "C" __attribute__((visibility("default"))) int regard_quick_begin(const Python* pointers) {
    python = *pointers;
    return python.dlpack->header.version.major == DLPACK_MAJOR_VERSION &&
           python.dlpack->dltensor_from_py_object_no_sync;
}

// Writes softmax(scale · query keyᵀ) value to `output`, and the statistics for the backward pass to `stats` unless it
// is None. Returns a Status as an integer of Python. It is called as a function of CPython (METH_FASTCALL), because
// ctypes takes longer to convert ten arguments than a small call takes to compute. The arguments are query, key, value,
// output, stats and those of `Options`.
extern "C" __attribute__((visibility("default"))) void* regard_quick(void*, void* const* x, std::ptrdiff_t) {
    const Options options{x[5], python.as_double(x[6]), python.as_integer(x[7]), python.as_integer(x[8]),
                          python.as_integer(x[9])};
    const Status status = attend(x[0], x[1], x[2], x[3], x[4], options);
    return status == UNSUPPORTED && python.error() ? nullptr : python.to_integer(status);  // null: raises it
}

// Writes the gradients of query, key and value, which have their shapes; `grad` is the gradient of the output. Returns
// a Status.
extern "C" __attribute__((visibility("default"))) int regard_quick_backward(
    void* query, void* key, void* value, void* output, void* stats, void* grad, void* grad_query, void* grad_key,
    void* grad_value, void* lengths, double scale, i64 causal, i64 threads, i64 level, i64 splits) {
    Tensors t(query, key, value, output), g(grad_query, grad_key, grad_value, grad);
    if (!t.fit || !g.fit || t.o.size[3] != t.v.size[3] || g.o.size[3] != t.v.size[3]) return UNSUPPORTED;
    try {
        Call call(t, {lengths, scale, causal, threads, level});
        if (!call.fit) return UNSUPPORTED;
        Args& a = call.a;
        a.stats = address(stats), a.splits = splits;
        if (!a.stats) return UNSUPPORTED;
        a.grad_output = g.o.from, a.grad_query = g.q.from, a.grad_key = g.k.from, a.grad_value = g.v.from;
        return call.run([&] { return regard_backward(&a) ? NO_MEMORY : DONE; });
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}
