/* Sixteen floats at a time, as the compiler's vectors: no processor is named but where it saves much. */

#ifndef LANES_H
#define LANES_H

#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define TILE 16

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16v __attribute__((vector_size(64)));
/* Copied as a whole where they lie: pieces of 32 bytes that are read back as 64 stall the processor. */
typedef float v16_at __attribute__((vector_size(64), aligned(4), may_alias));
static inline v16 load(const float *x) { return *(const v16_at *)x; }
static inline void store(float *x, v16 v) { *(v16_at *)x = v; }
static inline v16 even(float x) { return (v16){0} + x; }
static inline v16 choose(i16v where, v16 a, v16 b) { return (v16)(((i16v)a & where) | ((i16v)b & ~where)); }

static inline float total(v16 v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float at[TILE], s = 0;
    store(at, v);
    for (int i = 0; i < TILE / 2; i++) at[i] += at[i + TILE / 2];
    for (int i = 0; i < TILE / 2; i++) s += at[i];
    return s;
#endif
}

#define ROUND 12582912.0f /* 1.5 * 2^23: adding it leaves the nearest whole number in the low bits */
static inline v16 rounded(v16 x) { return (x + ROUND) - ROUND; }

static inline v16 exponential(v16 x) { /* relative error 2e-7; 0 below -87 */
    const i16v real = x > -87.0f;
    x = choose(real, x, even(-87.0f));
    x = choose(x < 88.0f, x, even(88.0f));
    const v16 n = rounded(x * 1.44269504f);
    const v16 r = x - n * 0.693359375f + n * 2.12194440e-4f;
    v16 p = ((((r * 1.9875691e-4f + 1.3981999e-3f) * r + 8.3334519e-3f) * r + 4.1665796e-2f) * r + 0.16666665f) * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return (v16)((i16v)(p * (v16)((__builtin_convertvector(n, i16v) + 127) << 23)) & real);
}

#endif
