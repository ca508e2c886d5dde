/* Products of packed weights and a few rows of activations.

   y[m][n] = sum_k w[n][k] x[m][k]          M rows (1 to 8 at a time), N outputs, K inputs

   Weights are unsigned bytes or nibbles, activations signed bytes with a scale a group of inputs, so that a sum over a
   group is exact in int32 and one instruction multiplies and adds 64 pairs:

     int8   q = w / s_n + 128    tiles of 16 outputs x 32 inputs, 512 bytes: [k/4][n][k%4]
     int4   w = s_g q + z_g      tiles of 16 outputs x 32 inputs, 256 bytes: low nibbles inputs 0-15, high ones 16-31,
                                 then 16 scales and 16 zeros in half precision: 320 bytes

   A row's result does not depend on the other rows: the same sums in the same order. */

#include <stdint.h>
#include <string.h>

#include "lanes.h"

#define MOST 8

#if defined(__AVX2__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL /* a minute of compiling, for the path that is slow anyway */
#endif

typedef struct {
    const uint8_t *w;    /* tiles, those of the first 16 outputs first */
    const float *scale;  /* int8: one an output */
    const float *bias;   /* or NULL */
    int32_t n, k, bits;  /* outputs and inputs padded to whole tiles; 8 or 4 */
} Matrix;

#define GROUP 32 /* activations that share a scale: one outlier spoils no more than these */

typedef struct {
    int8_t *q;    /* [M][k] */
    float *scale; /* [M][k / GROUP] */
    int32_t *sum; /* [M][k / GROUP] */
    int32_t k;
} Quantised;

/* Of each path: a Word of 64 weights, a Sum of 16 outputs, and

     start8, add8    the sum of (w - 128) x for bytes w      start: what it begins with, given the sum of x
     add4            the sum of w x for w of 0 to 15 */

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
#define PATH "avx512vnni"
typedef __m512i Word;
typedef __m512i Sum;
static inline Word word(const uint8_t *w) { return _mm512_loadu_si512(w); }
static inline Word low(Word w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
static inline Word high(Word w) { return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15)); }
static inline Sum sum_of(int32_t v) { return _mm512_set1_epi32(v); }
static inline Sum start8(int32_t sum) { return sum_of(-128 * sum); }
static inline Sum add4(Sum s, Word w, int32_t x) { return _mm512_dpbusd_epi32(s, w, _mm512_set1_epi32(x)); }
static inline Sum add8(Sum s, Word w, int32_t x) { return add4(s, w, x); }
static inline v16 to_float(Sum s) { return (v16)_mm512_cvtepi32_ps(s); }

#elif defined(__AVX2__)
typedef struct { __m256i a, b; } Word;
typedef struct { __m256i a, b; } Sum;
#define BOTH(F) (Word){F(w.a), F(w.b)}
static inline __m256i low1(__m256i w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
static inline __m256i high1(__m256i w) { return low1(_mm256_srli_epi16(w, 4)); }
static inline Word word(const uint8_t *w) {
    return (Word){_mm256_loadu_si256((const __m256i *)w), _mm256_loadu_si256((const __m256i *)(w + 32))};
}
static inline Word low(Word w) { return BOTH(low1); }
static inline Word high(Word w) { return BOTH(high1); }
static inline Sum sum_of(int32_t v) { return (Sum){_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
#if defined(__AVXVNNI__)
#define PATH "avxvnni"
static inline Sum start8(int32_t sum) { return sum_of(-128 * sum); }
static inline Sum add4(Sum s, Word w, int32_t x) {
    __m256i v = _mm256_set1_epi32(x);
    return (Sum){_mm256_dpbusd_avx_epi32(s.a, w.a, v), _mm256_dpbusd_avx_epi32(s.b, w.b, v)};
}
static inline Sum add8(Sum s, Word w, int32_t x) { return add4(s, w, x); }
#else
#define PATH "avx2"
static inline Sum start8(int32_t sum) { return (void)sum, sum_of(0); }
static inline __m256i pairs(__m256i s, __m256i w, __m256i x) { /* w of 0 to 128: two products fit in 16 bits */
    return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
static inline Sum add4(Sum s, Word w, int32_t x) {
    __m256i v = _mm256_set1_epi32(x);
    return (Sum){pairs(s.a, w.a, v), pairs(s.b, w.b, v)};
}
static inline __m256i centred(__m256i w, __m256i v) { /* w - 128 with the sign of x, to be multiplied by |x| */
    return _mm256_sign_epi8(_mm256_xor_si256(w, _mm256_set1_epi8((char)0x80)), v);
}
static inline Sum add8(Sum s, Word w, int32_t x) {
    __m256i v = _mm256_set1_epi32(x), size = _mm256_abs_epi8(v);
    return (Sum){pairs(s.a, size, centred(w.a, v)), pairs(s.b, size, centred(w.b, v))};
}
#endif
static inline v16 to_float(Sum s) {
    v16 out;
    _mm256_storeu_ps((float *)&out, _mm256_cvtepi32_ps(s.a));
    _mm256_storeu_ps((float *)&out + 8, _mm256_cvtepi32_ps(s.b));
    return out;
}

#else
#define PATH "plain"
typedef struct { uint8_t at[64]; } Word;
typedef i16v Sum;
static inline Word word(const uint8_t *w) {
    Word out;
    memcpy(out.at, w, 64);
    return out;
}
static inline Word low(Word w) {
    for (int i = 0; i < 64; i++) w.at[i] &= 15;
    return w;
}
static inline Word high(Word w) {
    for (int i = 0; i < 64; i++) w.at[i] >>= 4;
    return w;
}
static inline Sum sum_of(int32_t v) { return (Sum){0} + v; }
static inline Sum start8(int32_t sum) { return sum_of(-128 * sum); }
static inline Sum add4(Sum s, Word w, int32_t x) {
    int8_t v[4];
    memcpy(v, &x, 4);
    for (int n = 0; n < TILE; n++)
        s[n] += w.at[4 * n] * v[0] + w.at[4 * n + 1] * v[1] + w.at[4 * n + 2] * v[2] + w.at[4 * n + 3] * v[3];
    return s;
}
static inline Sum add8(Sum s, Word w, int32_t x) { return add4(s, w, x); }
static inline v16 to_float(Sum s) { return __builtin_convertvector(s, v16); }
#endif

static inline int32_t four(const int8_t *x) {
    int32_t out;
    memcpy(&out, x, 4);
    return out;
}

static inline v16 halves(const uint8_t *at) { /* 16 numbers in half precision */
#if defined(__AVX512F__)
    return (v16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
#elif defined(__F16C__)
    v16 out;
    _mm256_storeu_ps((float *)&out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)));
    _mm256_storeu_ps((float *)&out + 8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(at + 16))));
    return out;
#else
    v16 out;
    for (int n = 0; n < TILE; n++) {
        uint16_t h;
        memcpy(&h, at + 2 * n, 2);
        /* exponent and mantissa in place, then 2^112: right for subnormal numbers too */
        uint32_t bits = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
        float f;
        memcpy(&f, &bits, 4);
        f *= 0x1p112f;
        memcpy(&bits, &f, 4);
        bits |= sign;
        memcpy(&f, &bits, 4);
        out[n] = f;
    }
    return out;
#endif
}

static inline __attribute__((always_inline)) void tile8(const Matrix *a, const Quantised *x, int first, const int M,
                                                        int tile, v16 *y) {
    const int blocks = a->k / 32;
    const uint8_t *w = a->w + (size_t)tile * blocks * 512;
    UNROLL for (int m = 0; m < M; m++) y[m] = (v16){0};
    for (int b = 0; b < blocks; b++, w += 512) {
        Sum s[MOST];
        UNROLL for (int m = 0; m < M; m++) s[m] = start8(x->sum[(first + m) * blocks + b]);
        UNROLL for (int j = 0; j < 8; j++) {
            const Word v = word(w + 64 * j);
            UNROLL for (int m = 0; m < M; m++)
                s[m] = add8(s[m], v, four(x->q + (size_t)(first + m) * x->k + b * 32 + 4 * j));
        }
        UNROLL for (int m = 0; m < M; m++) y[m] += to_float(s[m]) * x->scale[(first + m) * blocks + b];
    }
    const v16 scale = load(a->scale + tile * TILE);
    UNROLL for (int m = 0; m < M; m++) y[m] *= scale;
}

static inline __attribute__((always_inline)) void tile4(const Matrix *a, const Quantised *x, int first, const int M,
                                                        int tile, v16 *y) {
    const int blocks = a->k / 32;
    const uint8_t *w = a->w + (size_t)tile * blocks * 320;
    UNROLL for (int m = 0; m < M; m++) y[m] = (v16){0};
    for (int b = 0; b < blocks; b++, w += 320) {
        Sum s[MOST];
        UNROLL for (int m = 0; m < M; m++) s[m] = sum_of(0);
        UNROLL for (int j = 0; j < 4; j++) {
            const Word v = word(w + 64 * j), v0 = low(v), v1 = high(v);
            UNROLL for (int m = 0; m < M; m++) {
                const int8_t *at = x->q + (size_t)(first + m) * x->k + b * 32 + 4 * j;
                s[m] = add4(add4(s[m], v0, four(at)), v1, four(at + 16));
            }
        }
        const v16 scale = halves(w + 256), zero = halves(w + 288);
        UNROLL for (int m = 0; m < M; m++) {
            const float xs = x->scale[(first + m) * blocks + b];
            y[m] += to_float(s[m]) * (scale * xs) + zero * (xs * x->sum[(first + m) * blocks + b]);
        }
    }
}

static inline __attribute__((always_inline)) void rows(const Matrix *a, const Quantised *x, int first, const int M,
                                                       int tile, float *y, size_t stride) {
    v16 out[MOST];
    if (a->bits == 8) tile8(a, x, first, M, tile, out);
    else tile4(a, x, first, M, tile, out);
    UNROLL for (int m = 0; m < M; m++) {
        if (a->bias) out[m] += load(a->bias + tile * TILE);
        store(y + (first + m) * stride + tile * TILE, out[m]);
    }
}

/* Tiles `from` to `to` of y (M rows, `stride` apart) = a x. */
static void product(const Matrix *a, const Quantised *x, int M, int from, int to, float *y, size_t stride) {
    for (int tile = from; tile < to; tile++)
        for (int first = 0; first < M; first += MOST) switch (M - first) {
            case 1: rows(a, x, first, 1, tile, y, stride); break;
            case 2: rows(a, x, first, 2, tile, y, stride); break;
            case 3: rows(a, x, first, 3, tile, y, stride); break;
            case 4: rows(a, x, first, 4, tile, y, stride); break;
            case 5: rows(a, x, first, 5, tile, y, stride); break;
            case 6: rows(a, x, first, 6, tile, y, stride); break;
            case 7: rows(a, x, first, 7, tile, y, stride); break;
            default: rows(a, x, first, 8, tile, y, stride);
        }
}
