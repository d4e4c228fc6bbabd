// Vector functions: exp2, ln, tanh, their relatives and the inverse error function. The polynomials except that of the
// inverse error function were fitted for this file: least squares, reweighted until the relative error is equal at all
// extrema. Doubles, which are for checking, call the C library lane by lane where speed does not matter.
//
// The lines "ULP ..." are upper bounds of the error in units in the last place, for normal inputs and results, at every
// level; tests/test_vmath.py reads them and checks them over all exponents. While the kernels run, the processor treats
// denormal numbers as 0 (FlushDenormals in library.cpp): a denormal input counts as 0, a denormal result becomes 0.
#pragma once
#include "simd.h"

namespace REGARD_LEVEL {
template <class F> INLINE f64v each(f64v x, F f) {
    for (int i = 0; i < WIDE<double>; ++i) x[i] = f(x[i]);
    return x;
}

// 2^f for |f| ≤ ½.
INLINE f32v exp2_of_fraction(f32v f) {
    f32v p = fma(f, splat(0.001326472639f), splat(0.009671512697f));
    p = fma(p, f, splat(0.05550733746f));
    p = fma(p, f, splat(0.2402224208f));
    p = fma(p, f, splat(0.6931469776f));
    return fma(p, f, splat(1.0f));
}

// 2^x; 0 for −∞; 2⁰ is exactly 1. PRECISE false: a relative error of 9e-5, enough for weights that become bfloat16.
// ULP EXP2: float32 3, float64 1.5
// ULP EXP2_COARSE: float32 1600, float64 1.5
template <bool PRECISE = true> INLINE f32v exp2v(f32v x) {
#if defined(__AVX512DQ__)
    // reduce: x − ⌊x⌋. Both instructions give the right results for −∞.
    f32v f = (f32v)_mm512_maskz_reduce_ps(0xFFFF, (__m512)x, 0x01);
    f32v p;
    if constexpr (PRECISE) {
        p = fma(f, splat(0.001867130174f), splat(0.009017030031f));
        p = fma(p, f, splat(0.05579991339f));
        p = fma(p, f, splat(0.24016445f));
        p = fma(p, f, splat(0.6931513118f));
    } else {
        p = fma(f, splat(0.07706704753f), splat(0.2276449816f));
        p = fma(p, f, splat(0.6951167904f));
    }
    p = fma(p, f, splat(1.0f));
    return (f32v)_mm512_maskz_scalef_ps(0xFFFF, (__m512)p, (__m512)x);
#else
    f32v y = maxv(splat(-127.0f), x);
    f32v shifted = y + 12582912.0f;  // 1.5 · 2²³: rounds to the nearest integer
    f32v f = y - (shifted - 12582912.0f);
    f32v p = exp2_of_fraction(f);
    i32v power = ((i32v)shifted) << 23;
    f32v scaled = (f32v)((i32v)p + power);
    scaled = y < splat(-126.0f) ? f32v{} : scaled;
    scaled = y >= splat(128.0f) ? splat(__builtin_inff()) : scaled;
    return y != y ? y : scaled;
#endif
}
template <bool PRECISE = true> INLINE f64v exp2v(f64v x) {
    f64v y = maxv(splat(-1023.0), x);
    f64v shifted = y + 6755399441055744.0;  // 1.5 · 2⁵²
    f64v f = y - (shifted - 6755399441055744.0);
    f64v z = f * 0.693147180559945309417;
    constexpr double c[] = {
        1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720,
        1.0 / 120,       1.0 / 24,       1.0 / 6,       0.5,          1.0,         1.0};
    f64v p = fma(z, splat(1.0 / 6227020800.0), splat(c[0]));
    for (int i = 1; i < 13; ++i) p = fma(p, z, splat(c[i]));
    i64v power = ((i64v)shifted) << 52;
    f64v scaled = (f64v)((i64v)p + power);
    scaled = y < splat(-1022.0) ? f64v{} : scaled;
    scaled = y >= splat(1024.0) ? splat(__builtin_inf()) : scaled;
    return y != y ? y : scaled;
}

// 2^x for a weight relative to the largest: x ≤ 0, or NaN, which gives NaN. Without the comparisons of `exp2v`: 0 for
// −∞, and where 2^x is denormal, which counts as 0.
INLINE f32v exp2_of_weight(f32v x) {
#if defined(__AVX512DQ__)
    return exp2v(x);
#else
    f32v y = maxv(splat(-127.0f), x);
    f32v shifted = y + 12582912.0f;
    f32v p = exp2_of_fraction(y - (shifted - 12582912.0f));
    return p *
           (f32v)((((i32v)shifted) << 23) + 0x3F800000);  // a product, so that NaN stays NaN; 2⁻¹²⁷ has the bits of 0
#endif
}
INLINE f64v exp2_of_weight(f64v x) { return exp2v(x); }

// 2^x for a term of a sum of at least 1: x ≤ 0 and not NaN. Below 2⁻¹²⁶, and for −∞, the result is 2⁻¹²⁶.
INLINE f32v exp2_of_term(f32v x) {
#if defined(__AVX512DQ__)
    return exp2v(x);
#else
    f32v y = maxv(splat(-126.0f), x);
    f32v shifted = y + 12582912.0f;
    return (f32v)((i32v)exp2_of_fraction(y - (shifted - 12582912.0f)) + (((i32v)shifted) << 23));
#endif
}

// ln x for x ≥ 0, −∞ for 0: exponent and mantissa m from √½ to √2; ln m = 2 artanh((m − 1) / (m + 1)), as a series.
// ULP LOG: float32 2, float64 1
INLINE f32v lnv(f32v x) {
    i32v bits = (i32v)x;
    i32v shifted = bits - 0x3F3504F3;
    i32v exponent = shifted >> 23;
    f32v m = (f32v)(bits - (exponent << 23));
    f32v s = (m - 1.0f) / (m + 1.0f), z = s * s;
    f32v p = fma(z, splat(0.2380952f), splat(0.2857143f));
    p = fma(p, z, splat(0.4f));
    p = fma(p, z, splat(0.66666667f));
    f32v e = __builtin_convertvector(exponent, f32v);
    f32v r = fma(e, splat(0.693145752f), fma(e, splat(1.42860677e-6f), fma(p * z, s, 2.0f * s)));
    r = x == f32v{} ? splat(-__builtin_inff()) : r;
    r = x == splat(__builtin_inff()) ? x : r;
    return x >= f32v{} ? r : splat(__builtin_nanf(""));
}
INLINE f64v lnv(f64v x) {
    // Some C libraries read the bits of a denormal number, which counts as 0 here.
    return each(x, [](double v) { return v == 0 ? -__builtin_inf() : __builtin_log(v); });
}

// 1 / x, to the second-last bit; a division takes twice as long.
INLINE f32v inverse(f32v x) {
#if defined(__AVX512F__)
    f32v r = (f32v)_mm512_maskz_rcp14_ps(0xFFFF, (__m512)x);
    return fma(r, fma(-x, r, splat(1.0f)), r);
#else
    return 1.0f / x;
#endif
}

// tanh |x| = (1 − e) / (1 + e) with e = exp(−2|x|); near 0, where 1 − e would lose digits, an odd polynomial. With
// SMALL, for inputs that are mostly near 0, a vector with only such inputs skips the exponential.
// ULP TANH: float32 2.5, float64 2.5
// ULP TANH_SMALL: float32 2.5, float64 2.5
template <bool SMALL = false> INLINE f32v tanhv(f32v x) {
    f32v size = (f32v)((i32v)x & 0x7FFFFFFF), z = x * x;
    f32v p = fma(z, splat(0.01645876f), splat(-0.05268415f));
    p = fma(p, z, splat(0.13320942f));
    p = fma(p, z, splat(-0.33332957f));
    f32v near = fma(p * z, x, x);
    auto is_near = size < 0.55f;
    if (SMALL && !any(~is_near)) return near;
    f32v e = exp2v(size * -2.885390081777927f);
    f32v far = (1.0f - e) * inverse(1.0f + e);
    far = (f32v)((i32v)far | ((i32v)x & (int32_t)0x80000000));
    return is_near ? near : far;
}
template <bool SMALL = false> INLINE f64v tanhv(f64v x) {
    return each(x, [](double v) { return __builtin_tanh(v); });
}

// ULP SQRT: float32 0.5, float64 0.5
INLINE f32v sqrtv(f32v x) {
#if defined(__AVX512F__)
    return (f32v)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)x);
#else
    for (int i = 0; i < WIDE<float>; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}
INLINE f64v sqrtv(f64v x) {
    return each(x, [](double v) { return __builtin_sqrt(v); });
}

// x^y for x ≥ 0, with 0^y = 0; in double precision, because y may be large.
// ULP POW: float32 0.51, float64 1
INLINE f64v powv(f64v x, double y) {
    return each(x, [y](double v) { return v > 0 ? __builtin_pow(v, y) : 0.0; });
}
INLINE f32v powv(f32v x, double y) {
    for (int i = 0; i < WIDE<float>; ++i) x[i] = x[i] > 0 ? (float)__builtin_pow((double)x[i], y) : 0.0f;
    return x;
}

// The inverse error function for |x| < 1: x times a polynomial of w = −ln(1 − x²) with the coefficients for single
// precision of Giles 2010, "Approximating the erfinv function". The polynomial is evaluated in double precision,
// because its last terms cancel.
// ULP ERFINV: float32 3, float64 2
INLINE double erfinv_over_x(double w) {
    double p;
    if (w < 5) {
        constexpr double c[] = {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                                -0.00125372503, -0.00417768164, 0.246640727,    1.50140941};
        w -= 2.5;
        p = c[0];
        for (int i = 1; i < 9; ++i) p = p * w + c[i];
    } else {
        constexpr double c[] = {-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
                                -0.0076224613,   0.00943887047,  1.00167406,    2.83297682};
        w = __builtin_sqrt(w) - 3;
        p = c[0];
        for (int i = 1; i < 9; ++i) p = p * w + c[i];
    }
    return p;
}
INLINE float erfinv1(float x) {
    float w = -__builtin_logf((1.0f - x) * (1.0f + x));
    return (float)(erfinv_over_x((double)w) * (double)x);
}
// In double precision, two steps of Halley's method on erf(y) = |x| from the single-precision result. From ½ on, they
// solve erfc(y) = 1 − |x| instead: 1 − |x| is exact there, while erf(y) rounds to a number near 1 and loses the digits
// that determine y.
INLINE double erfinv1(double x) {
    constexpr double HALF_ROOT_PI = 0.886226925452758014;
    double size = __builtin_fabs(x), rest = 1.0 - size;
    if (size < 1e-9) return x * HALF_ROOT_PI;  // the next term, π^1.5 x³ / 24, is below the last digit
    double w = -__builtin_log(rest * (1.0 + size));
    // The polynomial is fitted for w < 16, which covers all floats below 1; the line is within 0.001 of the result.
    double y = w < 16.0 ? erfinv_over_x(w) * size : 1.0095 * __builtin_sqrt(w) - 0.1972;
    for (int i = 0; i < 2; ++i) {
        double difference = size < 0.5 ? __builtin_erf(y) - size : rest - __builtin_erfc(y);
        double newton = difference * HALF_ROOT_PI * __builtin_exp(y * y);
        y -= newton / (1.0 + y * newton);
    }
    return __builtin_copysign(y, x);
}
template <class C> INLINE Vec<C> erfinvv(Vec<C> x) {
    for (int i = 0; i < WIDE<C>; ++i) x[i] = erfinv1(x[i]);
    return x;
}

// The tail of the normal distribution and its density: Φ(−|x|) and exp(−x²/2). The tail is the density times a
// polynomial of 1 / (1 + 0.34 |x|) fitted for it, with a relative error of 3e-7.
INLINE void normal_tail(f32v x, f32v& tail, f32v& density) {
    f32v size = (f32v)((i32v)x & 0x7FFFFFFF);
    f32v u = 1.0f / fma(size, splat(0.34f), splat(1.0f));
    density = exp2v(x * x * -0.72134752f);
    f32v p = fma(u, splat(-0.026120348f), splat(0.13949873f));
    p = fma(p, u, splat(-0.2731309f));
    p = fma(p, u, splat(0.20218033f));
    p = fma(p, u, splat(-0.044716723f));
    p = fma(p, u, splat(0.1153584f));
    p = fma(p, u, splat(0.11519786f));
    p = fma(p, u, splat(0.13611217f));
    p = fma(p, u, splat(0.1356205f));
    tail = p * u * density;
}

// x Φ(x), and its derivative Φ(x) + x φ(x).
INLINE f32v gelu_value(f32v x) {
    f32v tail, density;
    normal_tail(x, tail, density);
    return x * (x < f32v{} ? tail : 1.0f - tail);
}
INLINE f32v gelu_slope(f32v x) {
    f32v tail, density;
    normal_tail(x, tail, density);
    return fma(x * density, splat(0.39894228f), x < f32v{} ? tail : 1.0f - tail);
}
}  // namespace REGARD_LEVEL
