// The library's face to Python: which levels this machine has, and calls that run one of them.
#include <atomic>
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

#if defined(__x86_64__)
extern const Level level_amx, level_avx512bf16, level_avx512, level_avx2;
#endif
extern const Level level_portable;

namespace {
// Set in a child that was forked: OpenMP's threads are not in it, and waiting for them would be for ever.
std::atomic<bool> forked{false};
const int watching = [] {
#if defined(__unix__) || defined(__APPLE__)
    return pthread_atfork(nullptr, nullptr, [] { forked = true; });
#else
    return 0;
#endif
}();

// While tasks run, numbers too small for a full mantissa are 0: weights of far keys become such numbers, and every
// product with one would cost a hundred others.
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

constexpr size_t KEPT = size_t(4) << 20;  // what a thread keeps for its next call
struct Memory {
    std::optional<Buffer> buffer;
    size_t size = 0;
    char* get(size_t bytes) {
        if (bytes > size) {
            size = 0;
            buffer.emplace(bytes);  // frees the old one first, and leaves none where it throws
            size = bytes;
        }
        return buffer ? buffer->at : nullptr;
    }
    void shrink() {
        if (size <= KEPT) return;
        buffer.reset();
        size = 0;
    }
};
thread_local Memory own;

#if defined(__x86_64__)
// Tiles are so much state that Linux wants to be asked for them, once in a process.
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
    bool two = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool five = two && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    switch (index) {
        case 0: return five && __builtin_cpu_supports("avx512bf16") && has_tiles() ? &level_amx : nullptr;
        case 1: return five && __builtin_cpu_supports("avx512bf16") ? &level_avx512bf16 : nullptr;
        case 2: return five ? &level_avx512 : nullptr;
        case 3: return two ? &level_avx2 : nullptr;
        case 4: return &level_portable;
    }
    return nullptr;
#else
    return index == 4 ? &level_portable : nullptr;
#endif
}

template <class A> const char* guard(const void* packed, void (*Level::*what)(const A&)) {
    const A& a = *(const A*)packed;
    const Level* result = level((int)a.level);
    if (!result) return "this machine does not have that level";
    try {
        (result->*what)(a);
        return nullptr;
    } catch (const std::bad_alloc&) {
        return "out of memory";
    }
}

// Threads that are waited for when the scope ends, however it ends.
struct Helpers {
    std::vector<std::thread> threads;
    // As many as the system starts: the tasks are shared out one by one, so that fewer threads do all of them too.
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
        char* memory = own.get(bytes);
        for (i64 task = 0; task < tasks; ++task) run(context, task, memory);
        own.shrink();
        return;
    }
    std::atomic<i64> next{0};
    std::atomic<bool> failed{false};
    auto work = [&] {
        try {
            FlushDenormals none;
            char* memory = own.get(bytes);
            for (i64 task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) run(context, task, memory);
            own.shrink();
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    };
#if defined(_OPENMP)
    // PyTorch's own threads: others would fight with them for the cores while they wait for their next work.
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
// Whether an exponent is that of infinity and NaN; a loop that the compiler makes vectors of, as it does not of one
// that ends early.
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
    std::atomic<bool> all{true};
    static void run(void* context, i64 task, char*) {
        Finite& f = *(Finite*)context;
        const i64 *size = f.x.size, *stride = f.x.from.stride;
        const char* at = f.x.from.at + (task / size[1] * stride[0] + task % size[1] * stride[1]) * f.size;
        bool in_one = stride[3] == 1 && stride[2] == size[3];  // rows without a gap are one row
        i64 rows = in_one ? 1 : size[2], width = in_one ? size[2] * size[3] : size[3], apart = stride[2] * f.size;
        for (i64 r = 0; r < rows; ++r)
            if (!f.row(at + r * apart, stride[3], width)) f.all = false;
    }
};
}  // namespace

namespace {
// What the kernels compute, by the names that Python's enums have: Python refuses what is not listed here.
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
// The number of a score or a normalizer in `Args`; -1: the kernels do not have it.
__attribute__((visibility("default"))) i64 regard_score(const char* name) { return number_of_name(SCORES, name); }
__attribute__((visibility("default"))) i64 regard_normalizer(const char* name) {
    return number_of_name(NORMALIZERS, name);
}
__attribute__((visibility("default"))) const char* regard_level(int index) {
    const Level* result = level(index);
    return result ? result->name : nullptr;
}
// Each returns null, or why it failed.
__attribute__((visibility("default"))) const char* regard_forward(const void* args) {
    return guard(args, &Level::forward);
}
__attribute__((visibility("default"))) const char* regard_backward(const void* args) {
    return guard(args, &Level::backward);
}
__attribute__((visibility("default"))) const char* regard_look(const void* args) { return guard(args, &Level::look); }
__attribute__((visibility("default"))) const char* regard_drop(const void* units) { return guard(units, &Level::drop); }
__attribute__((visibility("default"))) int regard_all_finite(const void* extent, i64 threads) {
    const Extent& x = *(const Extent*)extent;
    Finite f{x, 2, finite_row<uint16_t, 0x7F80>};
    if (x.from.dtype == F16) f.row = finite_row<uint16_t, 0x7C00>;
    if (x.from.dtype == F32) f.size = 4, f.row = finite_row<uint32_t, 0x7F800000u>;
    if (x.from.dtype == F64) f.size = 8, f.row = finite_row<uint64_t, 0x7FF0000000000000ull>;
    i64 heads = x.size[0] * x.size[1], bytes = heads * x.size[2] * x.size[3] * f.size;
    parallel(heads, bytes > 65536 ? threads : 1, Finite::run, &f, 0);
    return f.all;
}
// For the test of the vector functions, in the mode in which the kernels run them.
__attribute__((visibility("default"))) void regard_vmath(int index, i64 function, i64 dtype, const void* from, void* to,
                                                         i64 n, double power) {
    FlushDenormals none;
    level(index)->vmath(function, dtype, from, to, n, power);
}
__attribute__((visibility("default"))) double regard_peak(int index, i64 dtype, i64 times) {
    return level(index)->peak(dtype, times);
}
}
