// The functions that Python calls, the choice of the instruction set (level), threads and memory.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>
#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include "args.h"
#include "parallel.h"
#include "step_args.h"

#if defined(__x86_64__)
extern const Level level_amx, level_avx512bf16, level_avx512, level_avx2;
#endif
extern const Level level_portable;

namespace {
// Whether this process was forked. OpenMP's threads do not exist in the child, so waiting for them would never end.
std::atomic<bool> forked{false};
const int fork_handler = [] {
#if defined(__unix__) || defined(__APPLE__)
    return pthread_atfork(nullptr, nullptr, [] { forked = true; });
#else
    return 0;
#endif
}();

// Denormal numbers are treated as 0 while tasks run. Weights of far keys can be denormal, and a product with one takes
// about a hundred times as long as any other.
struct FlushDenormals {
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#elif defined(__aarch64__)
    uint64_t before;
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        asm volatile("msr fpcr, %0" ::"r"(before | (1ull << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before)); }
#else
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
};

constexpr size_t KEPT_BYTES = size_t(4) << 20;  // a thread keeps a buffer of at most this size for its next call
struct Memory {
    std::optional<Buffer> buffer;
    size_t size = 0;
    char* get(size_t bytes) {
        if (bytes > size) {
            size = 0;
            buffer.emplace(bytes);  // frees the old buffer first; if it throws, there is none
            size = bytes;
        }
        return buffer ? buffer->at : nullptr;
    }
    void shrink() {
        if (size <= KEPT_BYTES) return;
        buffer.reset();
        size = 0;
    }
};
thread_local Memory thread_memory;

#if defined(__x86_64__)
// Linux requires each process to request permission for AMX tiles.
bool has_tiles() {
#if defined(__linux__)
    static const bool result = [] {
        unsigned a, b, c, d;
        constexpr unsigned TILES = 1u << 24, BF16 = 1u << 22;
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & TILES) == 0 || (d & BF16) == 0) return false;
        constexpr int REQUEST = 0x1023, TILE_DATA = 18;
        return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
    }();
    return result;
#else
    return false;
#endif
}
#endif

const Level* level(int index) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    switch (index) {
        case 0: return avx512 && __builtin_cpu_supports("avx512bf16") && has_tiles() ? &level_amx : nullptr;
        case 1: return avx512 && __builtin_cpu_supports("avx512bf16") ? &level_avx512bf16 : nullptr;
        case 2: return avx512 ? &level_avx512 : nullptr;
        case 3: return avx2 ? &level_avx2 : nullptr;
        case 4: return &level_portable;
    }
    return nullptr;
#else
    return index == 4 ? &level_portable : nullptr;
#endif
}

// Whether a score is so large that its rounding error is not small beside the weights: see _LARGEST_LSE in looking.py.
bool has_large_scores(const Args& a) {
    const float* stats = (const float*)a.stats;
    for (i64 row = 0; row < a.batch * a.heads; ++row)
        for (i64 i = 0; i < a.queries; ++i) {
            float sum = std::fabs(stats[(row * STATS + LSE) * a.queries + i]);
            if (sum > 64 && !std::isinf(sum)) return true;
        }
    return false;
}

// A call that reads the statistics of the forward pass. decode.h sums a score in another order than tiles do. If scores
// are large, the statistics are computed again, in the order in which the call will sum the scores.
struct Reading {
    Args args;
    std::vector<char> output, stats;
    Reading(const Args& a, const Level& level) : args(a) {
        if (!level.decodes(a) || !has_large_scores(a)) return;
        i64 rows = a.batch * a.heads * a.queries, width = a.value_width;
        output.resize(rows * width * sizeof(float)), stats.resize(rows * STATS * sizeof(float));
        Args again = a;
        again.output = {output.data(), a.dtype, {a.heads * a.queries * width, a.queries * width, width, 1}};
        again.stats = args.stats = stats.data();
        level.forward_in_tiles(again);
    }
};

// Calls `work` with the level that the arguments name. Returns null, or what went wrong.
template <class A, class F> const char* call_level(const void* packed, F work) {
    const A& a = *(const A*)packed;
    const Level* result = level((int)a.level);
    if (!result) return "this machine does not have that level";
    try {
        work(*result, a);
        return nullptr;
    } catch (const std::bad_alloc&) {
        return "out of memory";
    }
}

// Threads that are joined when the scope ends, also by an exception.
struct Helpers {
    std::vector<std::thread> threads;
    // Starts up to `count` threads, fewer if the system refuses more: threads take tasks one by one, so any number of
    // them completes all tasks.
    template <class F> void start(i64 count, F& work) {
        try {
            threads.reserve(count);
            while ((i64)threads.size() < count) threads.emplace_back(std::ref(work));
        } catch (const std::system_error&) {
        } catch (const std::bad_alloc&) {
        }
    }
    ~Helpers() {
        for (std::thread& thread : threads) thread.join();
    }
};

char* allocate(size_t bytes) {
    if (!bytes) return nullptr;
    void* result = std::aligned_alloc(64, (bytes + 63) & ~size_t(63));
    if (!result) throw std::bad_alloc();
    return (char*)result;
}
}  // namespace

Buffer::Buffer(size_t bytes) : at(allocate(bytes)) {}
Buffer::~Buffer() { std::free(at); }

void parallel(i64 tasks, i64 threads, void (*run)(void*, i64, char*), void* context, size_t bytes) {
    if (threads > tasks) threads = tasks;
    if (threads <= 1) {
        FlushDenormals none;
        char* memory = thread_memory.get(bytes);
        for (i64 task = 0; task < tasks; ++task) run(context, task, memory);
        thread_memory.shrink();
        return;
    }
    std::atomic<i64> next{0};
    std::atomic<bool> failed{false};
    auto work = [&] {
        try {
            FlushDenormals none;
            char* memory = thread_memory.get(bytes);
            for (i64 task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) run(context, task, memory);
            thread_memory.shrink();
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    };
#if defined(_OPENMP)
    // The threads that PyTorch uses: more threads would compete with them for the cores while they spin.
    if (!forked) {
#pragma omp parallel num_threads(threads)
        work();
        if (failed) throw std::bad_alloc();
        return;
    }
#endif
    {
        Helpers helpers;
        helpers.start(threads - 1, work);
        work();
    }
    if (failed) throw std::bad_alloc();
}

namespace {
// Whether no number of a row is infinite or NaN, whose exponent bits are all set. The loop does not stop early, so that
// the compiler can vectorize it.
template <class U, U EXPONENT> bool finite_row(const char* from, i64 stride, i64 n) {
    const U* x = (const U*)from;
    U result = 0;
    if (stride == 1) {
        for (i64 e = 0; e < n; ++e) result |= (U)((x[e] & EXPONENT) == EXPONENT);
    } else {
        for (i64 e = 0; e < n; ++e) result |= (U)((x[e * stride] & EXPONENT) == EXPONENT);
    }
    return !result;
}
struct Finite {
    const Extent& x;
    i64 size;
    bool (*row)(const char*, i64, i64);
    std::atomic<bool> all_finite{true};
    static void run(void* context, i64 task, char*) {
        Finite& f = *(Finite*)context;
        const i64 *size = f.x.size, *stride = f.x.from.stride;
        const char* at = f.x.from.at + (task / size[1] * stride[0] + task % size[1] * stride[1]) * f.size;
        bool contiguous = stride[3] == 1 && stride[2] == size[3];  // treated as one row
        i64 rows = contiguous ? 1 : size[2], width = contiguous ? size[2] * size[3] : size[3],
            apart = stride[2] * f.size;
        for (i64 r = 0; r < rows; ++r)
            if (!f.row(at + r * apart, stride[3], width)) f.all_finite = false;
    }
};
}  // namespace

namespace {
// The scores and normalizers of the kernels, by the values of Python's enums. Python refuses calls with others.
struct Named {
    const char* name;
    i64 number;
};
constexpr Named SCORES[] = {{"dot", DOT}, {"additive", ADDITIVE}, {"distance", DISTANCE}};
constexpr Named NORMALIZERS[] = {
    {"softmax", SOFTMAX},         {"entmax", ENTMAX}, {"sigmoid", SIGMOID},     {"topk", TOPK},
    {"argmax", ARGMAX},           {"gumbel", GUMBEL}, {"reinforce", REINFORCE}, {"straight-through", STRAIGHT_THROUGH},
    {"variational", VARIATIONAL},
};

template <size_t N> i64 number_of_name(const Named (&table)[N], const char* name) {
    for (const Named& entry : table)
        if (!std::strcmp(entry.name, name)) return entry.number;
    return -1;
}
}  // namespace

extern "C" {
__attribute__((visibility("default"))) long regard_args_size() { return sizeof(Args); }
// The number of a score or a normalizer in `Args`, or -1 if the kernels do not have it.
__attribute__((visibility("default"))) i64 regard_score(const char* name) { return number_of_name(SCORES, name); }
__attribute__((visibility("default"))) i64 regard_normalizer(const char* name) {
    return number_of_name(NORMALIZERS, name);
}
__attribute__((visibility("default"))) const char* regard_level(int index) {
    const Level* result = level(index);
    return result ? result->name : nullptr;
}
// Each returns null, or an error message.
__attribute__((visibility("default"))) const char* regard_forward(const void* args) {
    return call_level<Args>(args, [](const Level& level, const Args& a) { level.forward(a); });
}
// Whether `regard_forward` runs the call by decode.h.
__attribute__((visibility("default"))) int regard_decodes(const void* args) {
    const Args& a = *(const Args*)args;
    const Level* result = level((int)a.level);
    return result && result->decodes(a);
}
__attribute__((visibility("default"))) const char* regard_backward(const void* args) {
    return call_level<Args>(args, [](const Level& level, const Args& a) { level.backward(Reading(a, level).args); });
}
__attribute__((visibility("default"))) const char* regard_look(const void* args) {
    return call_level<Args>(args, [](const Level& level, const Args& a) { level.look(Reading(a, level).args); });
}
__attribute__((visibility("default"))) const char* regard_drop(const void* units) {
    return call_level<Units>(units, [](const Level& level, const Units& u) { level.drop(u); });
}
__attribute__((visibility("default"))) const char* regard_pack(const void* packing) {
    return call_level<Packing>(packing, [](const Level& level, const Packing& p) { level.pack(p); });
}
__attribute__((visibility("default"))) const char* regard_linear(const void* linear) {
    return call_level<PackedLinear>(linear, [](const Level& level, const PackedLinear& l) { level.linear(l); });
}
// The message for a token without an embedding is "token".
__attribute__((visibility("default"))) const char* regard_step(const void* call) {
    const StepCall& all = *(const StepCall*)call;
    for (i64 row = 0; row < all.rows; ++row)
        if (all.tokens[row] < 0 || all.tokens[row] >= all.embeddings) return "token";
    return call_level<StepCall>(call, [](const Level& level, const StepCall& c) { level.step(c); });
}
__attribute__((visibility("default"))) const char* regard_encode(const void* call) {
    return call_level<EncodeCall>(call, [](const Level& level, const EncodeCall& c) { level.encode(c); });
}
// The bytes of a packed weight or of its scales, which the caller allocates.
__attribute__((visibility("default"))) i64 regard_packed_bytes(int index, i64 outputs, i64 inputs, i64 kind,
                                                               int scales) {
    return level(index)->packed_bytes(outputs, inputs, kind, scales);
}
__attribute__((visibility("default"))) const char* regard_best(const void* best) {
    return call_level<BestTokens>(best, [](const Level& level, const BestTokens& b) { level.best(b); });
}
__attribute__((visibility("default"))) const char* regard_rows(const void* rows) {
    return call_level<Rows>(rows, [](const Level& level, const Rows& r) { level.work_on_rows(r); });
}
__attribute__((visibility("default"))) int regard_all_finite(const void* extent, i64 threads) {
    const Extent& x = *(const Extent*)extent;
    Finite f{x, 2, finite_row<uint16_t, 0x7F80>};
    if (x.from.dtype == F16) f.row = finite_row<uint16_t, 0x7C00>;
    if (x.from.dtype == F32) f.size = 4, f.row = finite_row<uint32_t, 0x7F800000u>;
    if (x.from.dtype == F64) f.size = 8, f.row = finite_row<uint64_t, 0x7FF0000000000000ull>;
    i64 heads = x.size[0] * x.size[1], bytes = heads * x.size[2] * x.size[3] * f.size;
    parallel(heads, bytes > 65536 ? threads : 1, Finite::run, &f, 0);
    return f.all_finite;
}
// Runs a vector function over an array, with denormal numbers treated as in the kernels; for tests.
__attribute__((visibility("default"))) void regard_vmath(int index, i64 function, i64 dtype, const void* from, void* to,
                                                         i64 n, double power) {
    FlushDenormals none;
    level(index)->vmath(function, dtype, from, to, n, power);
}
__attribute__((visibility("default"))) double regard_peak(int index, i64 dtype, i64 times) {
    return level(index)->peak(dtype, times);
}
}
