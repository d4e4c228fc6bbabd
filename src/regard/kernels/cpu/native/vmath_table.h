// The functions of vmath.h by number, applied to arrays; for tests/test_vmath.py, which checks their error bounds.
#pragma once
#include "vmath.h"

namespace REGARD_LEVEL {
template <class C> static void apply(i64 function, const C* from, C* to, i64 n, double power) {
    for (i64 i = 0; i < n; i += WIDE<C>) {
        Vec<C> x = load_part(from + i, n - i);
        switch (function) {
            case EXP2: x = exp2v(x); break;
            case EXP2_COARSE: x = exp2v<false>(x); break;
            case LOG: x = lnv(x); break;
            case TANH: x = tanhv(x); break;
            case TANH_SMALL: x = tanhv<true>(x); break;
            case SQRT: x = sqrtv(x); break;
            case POW: x = powv(x, power); break;
            case ERFINV: x = erfinvv<C>(x); break;
        }
        store_part(to + i, x, n - i);
    }
}

static void vmath(i64 function, i64 dtype, const void* from, void* to, i64 n, double power) {
    if (dtype == F64) return apply(function, (const double*)from, (double*)to, n, power);
    apply(function, (const float*)from, (float*)to, n, power);
}
}  // namespace REGARD_LEVEL
