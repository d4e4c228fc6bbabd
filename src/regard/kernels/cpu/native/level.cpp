// Everything of one instruction set: REGARD_LEVEL names it, the compiler's flags say what it may use. No header of the
// C++ library is included here: what it would define inline could be merged with another level's, and run where it
// can't.
#include "args.h"
#include "backward_tasks.h"
#include "decode.h"
#include "forward_tasks.h"
#include "look_tasks.h"
#include "unit_dropout.h"
#include "vmath_table.h"

#define QUOTED(x) #x
#define NAME(x) QUOTED(x)

namespace REGARD_LEVEL {
// In pairs of bfloat16 where the processor multiplies them and the score is a product; otherwise in float32 or float64.
#if defined(__AVX512BF16__)
#define EACH(what)                                                     \
    if (a.dtype == F64) return what##_as<Double>(a);                   \
    if (a.dtype == BF16 && a.score == DOT) return what##_as<Brain>(a); \
    what##_as<Float>(a);
#else
#define EACH(what)                                   \
    if (a.dtype == F64) return what##_as<Double>(a); \
    what##_as<Float>(a);
#endif
static void forward(const Args& a) {
    if (decode(a)) return;
    EACH(forward)
}
static void backward(const Args& a) { EACH(backward) }
static void look(const Args& a) { EACH(look) }

// Products and sums a second of one thread that does nothing else, all in registers: the limit that shares are told of.
template <class M> static double products(i64 times) {
    using C = typename M::C;
    Vec<C> sum[24];
    for (int n = 0; n < 24; ++n) sum[n] = splat(C(n));  // no two alike, or the compiler would have one do for both
    Vec<typename M::A> x = broadcast<typename M::A>((typename M::A)1), y = x;
    for (i64 i = 0; i < times; ++i)
#pragma GCC unroll 24
        for (int n = 0; n < 24; ++n) sum[n] = M::fmadd(sum[n], x, y);
    Vec<C> total = sum[0];
    for (int n = 1; n < 24; ++n) total += sum[n];
    volatile C kept = total[0];
    (void)kept;
    return 2.0 * 24 * WIDE<C> * M::PAIR * (double)times;
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
    .backward = REGARD_LEVEL::backward,
    .look = REGARD_LEVEL::look,
    .drop = REGARD_LEVEL::drop_units,
    .vmath = REGARD_LEVEL::vmath,
    .peak = REGARD_LEVEL::peak,
};
