// Reads and writes tensors of any dtype and strides, by rows or transposed, and the memory of a thread.
#pragma once
#include "simd.h"

namespace REGARD_LEVEL {
INLINE float widen(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    __builtin_memcpy(&x, &wide, 4);
    return x;
}
INLINE uint16_t narrow(float x) {  // to bfloat16, rounded to nearest even
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
INLINE float half_to_float(uint16_t h) {
#if defined(__F16C__)
    return _cvtsh_ss(h);
#else
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3FF, bits;
    if (exponent == 0) {
        float x = (float)mantissa * 5.9604644775390625e-8f;
        return sign ? -x : x;
    }
    bits = sign | (exponent == 31 ? 0x7F800000u | (mantissa << 13) : ((exponent + 112) << 23) | (mantissa << 13));
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
#endif
}
INLINE uint16_t float_to_half(float x) {
#if defined(__F16C__)
    return _cvtss_sh(x, 0);
#else
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    uint32_t sign = (bits >> 16) & 0x8000, size = bits & 0x7FFFFFFF;
    if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00);
    if (size >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
    if (size < 0x38800000) {
        float y;
        __builtin_memcpy(&y, &size, 4);
        y += 0.5f;  // one unit in the last place of 0.5f is the smallest float16
        __builtin_memcpy(&bits, &y, 4);
        return (uint16_t)(sign | (bits - 0x3F000000));
    }
    size += 0xFFF + ((size >> 13) & 1);
    return (uint16_t)(sign | ((size - 0x38000000) >> 13));
#endif
}

INLINE i64 bytes_of(i64 dtype) { return dtype == F64 ? 8 : dtype == F32 ? 4 : dtype == BOOL || dtype == I8 ? 1 : 2; }

INLINE const char* at(const Strided& t, i64 b, i64 h, i64 i, i64 j) {
    return t.at + (b * t.stride[0] + h * t.stride[1] + i * t.stride[2] + j * t.stride[3]) * bytes_of(t.dtype);
}

template <class C> INLINE C read(const char* from, i64 dtype) {
    switch (dtype) {
        case F32: return (C) * (const float*)from;
        case F64: return (C) * (const double*)from;
        case BF16: return (C)widen(*(const uint16_t*)from);
        case F16: return (C)half_to_float(*(const uint16_t*)from);
        default: return (C) * (const unsigned char*)from;
    }
}
template <class C> INLINE void write(char* to, i64 dtype, C x) {
    switch (dtype) {
        case F32: *(float*)to = (float)x; return;
        case F64: *(double*)to = (double)x; return;
        case BF16: *(uint16_t*)to = narrow((float)x); return;
        default: *(uint16_t*)to = float_to_half((float)x); return;
    }
}

// Copies `n` numbers with the given stride to a contiguous row.
template <class C> static void read_row(C* to, const char* from, i64 dtype, i64 stride, i64 n) {
    i64 size = bytes_of(dtype);
    if (stride == 1 && dtype == (sizeof(C) == 8 ? F64 : F32)) {
        __builtin_memcpy(to, from, n * sizeof(C));
    } else if (stride == 1 && dtype == BF16) {
        for (i64 i = 0; i < n; ++i) to[i] = widen(((const uint16_t*)from)[i]);
    } else if (stride == 1 && dtype == F16) {
        for (i64 i = 0; i < n; ++i) to[i] = half_to_float(((const uint16_t*)from)[i]);
    } else if (stride == 1 && dtype == BOOL) {
        for (i64 i = 0; i < n; ++i) to[i] = ((const unsigned char*)from)[i];
    } else {
        for (i64 i = 0; i < n; ++i) to[i] = read<C>(from + i * stride * size, dtype);
    }
}
template <class C> static void write_row(char* to, i64 dtype, i64 stride, const C* from, i64 n) {
    i64 size = bytes_of(dtype);
    if (stride == 1 && dtype == (sizeof(C) == 8 ? F64 : F32)) {
        __builtin_memcpy(to, from, n * sizeof(C));
    } else if (stride == 1 && dtype == BF16) {
        for (i64 i = 0; i < n; ++i) ((uint16_t*)to)[i] = narrow((float)from[i]);
    } else {
        for (i64 i = 0; i < n; ++i) write<C>(to + i * stride * size, dtype, from[i]);
    }
}

// Prefetches memory that is needed later. The processor's own prefetcher does not cross pages or tensors. The
// target is the second-level cache, because the first level has few buffers for outstanding loads.
INLINE void prefetch(const char* from, i64 bytes) {
    for (i64 at = 0; at < bytes; at += 64) __builtin_prefetch(from + at, 0, 2);
}
INLINE void prefetch(const Strided& t, i64 b, i64 h, i64 rows, i64 width) {
    if (t.stride[3] != 1) return;
    for (i64 i = 0; i < rows; ++i) prefetch(at(t, b, h, i, 0), width * bytes_of(t.dtype));
}
// Prefetches rows that are read or written in parts right afterwards, so that their loads overlap.
template <int WRITES, class C> INLINE void prefetch_rows(const C* rows, i64 ld, i64 n, i64 width) {
    for (i64 i = 0; i < n; ++i)
        for (i64 at = 0; at < width * (i64)sizeof(C); at += 64)
            __builtin_prefetch((const char*)(rows + i * ld) + at, WRITES);
}

// Transposition: `to[c][r] = from[r][c]` for `rows` × `columns`; each row of `to` is padded with zeros to full vectors.
template <class C> static void transpose(C* to, i64 ldto, const C* from, i64 ldfrom, i64 rows, i64 columns) {
    constexpr int W = WIDE<C>;
    Vec<C> tile[W];
    for (i64 r = 0; r < rows; r += W) {
        i64 high = min(W, rows - r);
        prefetch_rows<0>(from + r * ldfrom, ldfrom, high, columns);
        for (i64 c = 0; c < columns; c += W) {
            i64 wide = min(W, columns - c);
            if (high == W && wide == W) {
                for (int i = 0; i < W; ++i) tile[i] = load(from + (r + i) * ldfrom + c);
                transpose_registers<C>(tile);
                for (int i = 0; i < W; ++i) store(to + (c + i) * ldto + r, tile[i]);
                continue;
            }
            for (int i = 0; i < W; ++i) {
                tile[i] = Vec<C>{};
                if (i < high) __builtin_memcpy(&tile[i], from + (r + i) * ldfrom + c, wide * sizeof(C));
            }
            transpose_registers<C>(tile);
            for (int i = 0; i < wide; ++i) store(to + (c + i) * ldto + r, tile[i]);
        }
    }
}
// The inverse transposition: `to[r][c] = from[c][r]`; padding is not written.
template <class C> static void transpose_back(C* to, i64 ldto, const C* from, i64 ldfrom, i64 rows, i64 columns) {
    constexpr int W = WIDE<C>;
    Vec<C> tile[W];
    for (i64 r = 0; r < rows; r += W) {
        i64 high = min(W, rows - r);
        prefetch_rows<1>(to + r * ldto, ldto, high, columns);
        for (i64 c = 0; c < columns; c += W) {
            i64 wide = min(W, columns - c);
            for (int i = 0; i < W; ++i) tile[i] = i < wide ? load(from + (c + i) * ldfrom + r) : Vec<C>{};
            transpose_registers<C>(tile);
            if (high == W && wide == W) {
                for (int i = 0; i < W; ++i) store(to + (r + i) * ldto + c, tile[i]);
                continue;
            }
            for (int i = 0; i < high; ++i) __builtin_memcpy(to + (r + i) * ldto + c, &tile[i], wide * sizeof(C));
        }
    }
}

// The memory of one thread for one call, allocated piece by piece. With a null `base`, it measures the size only.
struct Arena {
    char* base;
    size_t used, size;
    template <class T> T* take(size_t n) {
        used = (used + 63) & ~(size_t)63;
        T* result = (T*)(base + used);
        used += n * sizeof(T);
        return result;
    }
};

typedef uint16_t u16half __attribute__((vector_size(BYTES / 2)));

// Vectors of float32 from memory of float32 or bfloat16 (uint16_t), and back; with `n`, only the first `n` lanes.
INLINE f32v load_wide(const float* at) { return load(at); }
INLINE f32v load_wide(const uint16_t* at) {
    u16half half;
    __builtin_memcpy(&half, at, BYTES / 2);
    return (f32v)(__builtin_convertvector(half, u32v) << 16);
}
INLINE void store_narrow(float* at, f32v x) { store(at, x); }
INLINE void store_narrow(uint16_t* at, f32v x) {
    u32v bits = (u32v)x;
    u32v rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    rounded = x != x ? (bits >> 16) | 0x40 : rounded;
    u16half half = __builtin_convertvector(rounded, u16half);
    __builtin_memcpy(at, &half, BYTES / 2);
}
template <class T> INLINE f32v load_wide(const T* at, i64 n) {
    if (n >= WIDE<float>) return load_wide(at);
    T part[WIDE<float>] = {};
    __builtin_memcpy(part, at, n * sizeof(T));
    return load_wide(part);
}
template <class T> INLINE void store_narrow(T* at, f32v x, i64 n) {
    if (n >= WIDE<float>) return store_narrow(at, x);
    T part[WIDE<float>];
    store_narrow(part, x);
    __builtin_memcpy(at, part, n * sizeof(T));
}
}  // namespace REGARD_LEVEL
