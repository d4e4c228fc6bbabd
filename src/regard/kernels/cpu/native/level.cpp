// All kernels for one instruction set (level). REGARD_LEVEL is its name, and compiler flags select the instructions. No
// header of the C++ standard library is included here, except <cstdint>: the linker merges inline functions of all
// levels, and a function compiled for one level could then run on a processor without its instructions.
#include "args.h"
#include "backward_tasks.h"
#include "best_tokens.h"
#include "decode.h"
#include "encode.h"
#include "forward_tasks.h"
#include "look_tasks.h"
#include "packed_tasks.h"
#include "rows.h"
#include "step.h"
#include "unit_dropout.h"
#include "vmath_table.h"

#define QUOTED(x) #x
#define NAME(x) QUOTED(x)

namespace REGARD_LEVEL {
// Calls a function for the type to compute in: float64; pairs of bfloat16, if the processor multiplies them and the
// score is a dot product; otherwise float32.
#if defined(__AVX512BF16__)
#define FOR_DTYPE(function)                                                \
    if (a.dtype == F64) return function##_as<Double>(a);                   \
    if (a.dtype == BF16 && a.score == DOT) return function##_as<Brain>(a); \
    function##_as<Float>(a);
#else
#define FOR_DTYPE(function)                              \
    if (a.dtype == F64) return function##_as<Double>(a); \
    function##_as<Float>(a);
#endif
static void forward_in_tiles(const Args& a) { FOR_DTYPE(forward) }
static void forward(const Args& a) {
    if (!decode(a)) forward_in_tiles(a);
}
static void backward(const Args& a) { FOR_DTYPE(backward) }
static void look(const Args& a) { FOR_DTYPE(look) }

// Runs `times` rounds of multiply-adds in registers and returns their number of operations; benchmarks measure the peak
// speed with it.
template <class M> static double products(i64 times) {
    using C = typename M::C;
    constexpr int SUMS = MR * NV;  // as many as gemm.h has in registers
    Vec<C> sum[SUMS];
    for (int n = 0; n < SUMS; ++n) sum[n] = splat(C(n));  // all different, so that the compiler cannot merge them
    Vec<typename M::A> x = broadcast<typename M::A>((typename M::A)1), y = x;
    for (i64 i = 0; i < times; ++i)
#pragma GCC unroll 24
        for (int n = 0; n < SUMS; ++n) sum[n] = M::fmadd(sum[n], x, y);
    Vec<C> total = sum[0];
    for (int n = 1; n < SUMS; ++n) total += sum[n];
    volatile C kept = total[0];
    (void)kept;
    return 2.0 * SUMS * WIDE<C> * M::PAIR * (double)times;
}
static double peak(i64 dtype, i64 times) {
    if (dtype == F64) return products<Double>(times);
#if defined(__AVX512BF16__)
    if (dtype == BF16) return products<Brain>(times);
#endif
    return products<Float>(times);
}
}  // namespace REGARD_LEVEL

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
extern const Level JOIN(level_, REGARD_LEVEL);
const Level JOIN(level_, REGARD_LEVEL) = {
    .name = NAME(REGARD_LEVEL),
    .forward = REGARD_LEVEL::forward,
    .forward_in_tiles = REGARD_LEVEL::forward_in_tiles,
    .decodes = REGARD_LEVEL::decodes,
    .backward = REGARD_LEVEL::backward,
    .look = REGARD_LEVEL::look,
    .drop = REGARD_LEVEL::drop_units,
    .pack = REGARD_LEVEL::pack,
    .packed_bytes = REGARD_LEVEL::packed_bytes,
    .linear = REGARD_LEVEL::linear,
    .best = REGARD_LEVEL::best_tokens,
    .step = REGARD_LEVEL::step,
    .encode = REGARD_LEVEL::encode,
    .work_on_rows = REGARD_LEVEL::work_on_rows,
    .vmath = REGARD_LEVEL::vmath,
    .peak = REGARD_LEVEL::peak,
};
