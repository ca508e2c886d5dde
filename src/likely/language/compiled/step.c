/* One pass of a decoder over a few tokens: embed, layers, norm, head, in one call.

   h = embed(token)
   h = h + out(attend(norm(h)))      keys and values go into the caller's cache, and are read from it
   h = h + down(act(gate) * up)      of norm(h)
   logits = head(norm(h))

   For the LLaMA line: RMS norm, rotary positions, grouped queries, gated feed-forward; biases of queries, keys and
   values, and norms of query and key heads, where there are. Activations are float32; before each product they are
   rounded to signed bytes with a scale a group (see product.h). A token's result depends on its own text alone.

   Every token has a row of the cache and a place in it; tokens of one row must come in the order of their places. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "product.h"
#include "team.h"

typedef struct {
    Matrix qkv, out, up, down;
    const float *norm1, *norm2, *q_norm, *k_norm; /* the last two NULL where heads are not normed */
} Layer;

typedef struct {
    int32_t layers, width, heads, groups, head, hidden, interleaved, gelu, embed_kind, cache_kind; /* 0 float, 1 bf16 */
    float eps;
    const Layer *layer;
    Matrix top;
    const float *norm;
    const void *embed;
    const float *cos, *sin; /* [place][head / 2] */
} Model;

typedef struct {
    int32_t tokens, outs;             /* how many are read, how many of them want logits */
    const int32_t *id, *row, *place;  /* of each token */
    const int32_t *out;               /* which tokens want logits */
    void *keys, *values;              /* of layer 0, row 0 */
    int64_t layer, line, group;       /* distances in numbers: to the next layer, row, group */
    float *logits;                    /* [outs][top.n] */
    float *work;                      /* room(...) floats */
} Job;

static inline v16 largest(v16 a, v16 b) { return (v16)(((i16v)a & (a > b)) | ((i16v)b & ~(a > b))); }
static inline v16 magnitude(v16 a) { return (v16)((i16v)a & 0x7fffffff); }
static inline float peak(v16 v) {
    float at[TILE];
    store(at, v);
    for (int step = TILE / 2; step; step /= 2)
        for (int i = 0; i < step; i++) at[i] = at[i + step] > at[i] ? at[i + step] : at[i];
    return at[0];
}

static inline v16 wide(const void *at, int64_t i, int kind) { /* 16 numbers of a cache or embedding */
    if (!kind) return load((const float *)at + i);
#if defined(__AVX512F__)
    const __m256i h = _mm256_loadu_si256((const __m256i *)((const uint16_t *)at + i));
    return (v16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
#else
    typedef uint16_t u16h __attribute__((vector_size(32), aligned(2), may_alias));
    return (v16)(__builtin_convertvector(*(const u16h *)((const uint16_t *)at + i), i16v) << 16);
#endif
}
static inline void narrow(void *at, int64_t i, int kind, v16 v) {
    if (!kind) { store((float *)at + i, v); return; }
    typedef uint32_t u32v __attribute__((vector_size(64)));
    typedef uint16_t u16h __attribute__((vector_size(32), aligned(2), may_alias));
    u32v bits = (u32v)v;
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; /* to the nearest, ties to even */
    *(u16h *)((uint16_t *)at + i) = __builtin_convertvector(bits, u16h);
}

static void rms(const float *x, const float *weight, int size, float eps, float *y) {
    v16 s = {0};
    for (int i = 0; i < size; i += TILE) s += load(x + i) * load(x + i);
    const float scale = 1.0f / sqrtf(total(s) / size + eps);
    for (int i = 0; i < size; i += TILE) store(y + i, load(x + i) * scale * load(weight + i));
}

/* Row m of q: x in signed bytes, a scale a group; what is behind `size` is zero. */
static void quantise(const float *x, int size, Quantised *q, int m) {
    const int groups = q->k / GROUP;
    for (int g = 0; g < groups; g++) {
        v16 top = {0};
        const int begin = g * GROUP, end = begin + GROUP;
        for (int i = begin; i < end && i < size; i += TILE) top = largest(magnitude(load(x + i)), top);
        const float most = peak(top), inverse = most > 0 ? 127.0f / most : 0;
        i16v sum = {0};
        for (int i = begin; i < end; i += TILE) {
            i16v n = {0};
            if (i < size) n = (i16v)(load(x + i) * inverse + ROUND) - 0x4B400000;
            sum += n;
            typedef int8_t bytes __attribute__((vector_size(16), aligned(1), may_alias));
            *(bytes *)(q->q + (size_t)m * q->k + i) = __builtin_convertvector(n, bytes);
        }
        q->scale[m * groups + g] = most / 127.0f;
        q->sum[m * groups + g] = (int32_t)total(__builtin_convertvector(sum, v16)); /* exact: below 2^24 */
    }
}

static void turn(float *x, const float *cos, const float *sin, int size, int interleaved) {
    const int half = size / 2;
    for (int i = 0; i < half; i++) {
        float *a = interleaved ? x + 2 * i : x + i, *b = interleaved ? a + 1 : a + half;
        const float u = *a, v = *b;
        *a = u * cos[i] - v * sin[i];
        *b = u * sin[i] + v * cos[i];
    }
}

/* R query heads that share keys and values of D numbers over `seen` steps; p: room for R times `width` weights. */
static inline __attribute__((always_inline)) void attend(const float *query, const void *keys, const void *values,
                                                         int seen, const int D, const int R, int kind, float *p,
                                                         size_t width, float *y) {
    const float scale = 1.0f / sqrtf((float)D);
    float most[MOST];
    for (int r = 0; r < R; r++) most[r] = -INFINITY;
    for (int s = 0; s < seen; s++) {
        v16 sum[MOST] = {{0}};
        UNROLL for (int d = 0; d < D; d += TILE) {
            const v16 key = wide(keys, (int64_t)s * D + d, kind);
            UNROLL for (int r = 0; r < R; r++) sum[r] += load(query + r * D + d) * key;
        }
        UNROLL for (int r = 0; r < R; r++) {
            const float one = total(sum[r]) * scale;
            p[r * width + s] = one;
            most[r] = one > most[r] ? one : most[r];
        }
    }
    float share[MOST];
    for (int r = 0; r < R; r++) {
        float *own = p + r * width;
        v16 mass = {0};
        for (int s = seen; s % TILE; s++) own[s] = -INFINITY;
        for (int s = 0; s < seen; s += TILE) {
            const v16 e = exponential(load(own + s) - most[r]);
            store(own + s, e);
            mass += e;
        }
        share[r] = 1.0f / total(mass);
    }
    for (int begin = 0; begin < D; begin += 64) { /* 64 numbers of all heads stay in registers */
        v16 out[4 * MOST] = {{0}};
        for (int s = 0; s < seen; s++)
            UNROLL for (int i = 0; i < 4; i++) {
                if (begin + i * TILE >= D) continue;
                const v16 value = wide(values, (int64_t)s * D + begin + i * TILE, kind);
                UNROLL for (int r = 0; r < R; r++) out[4 * r + i] += value * p[r * width + s];
            }
        for (int i = 0; i < 4 && begin + i * TILE < D; i++)
            for (int r = 0; r < R; r++) store(y + r * D + begin + i * TILE, out[4 * r + i] * share[r]);
    }
}

typedef struct {
    const Model *m;
    const Job *job;
    const Layer *layer;
    int at; /* the layer */
    Quantised x;
    float *h, *n, *y, *z, *p; /* streams, normed, results of products, attended, weights of attention */
    size_t wide, seen;        /* distances of rows of y and of p */
    const Matrix *matrix;
    float *target;
    int rows;
} State;

static size_t up_to(size_t n, size_t step) { return (n + step - 1) / step * step; }

static void multiply(void *all, int worker, int workers) {
    State *s = all;
    const int tiles = s->matrix->n / TILE;
    product(s->matrix, &s->x, s->rows, tiles * worker / workers, tiles * (worker + 1) / workers, s->target, s->wide);
}

static void attention(void *all, int worker, int workers) {
    State *s = all;
    const Model *m = s->m;
    const Job *job = s->job;
    const int D = m->head, share = m->heads / m->groups, kind = m->cache_kind, parts = (share + 3) / 4;
    for (int i = worker; i < job->tokens * m->groups * parts; i += workers) {
        const int t = i / (m->groups * parts), g = i / parts % m->groups, first = i % parts * 4;
        const int R = share - first < 4 ? share - first : 4, head = g * share + first, seen = job->place[t] + 1;
        const int64_t base = s->at * job->layer + job->row[t] * job->line + g * job->group;
        const void *keys = kind ? (void *)((uint16_t *)job->keys + base) : (void *)((float *)job->keys + base);
        const void *values = kind ? (void *)((uint16_t *)job->values + base) : (void *)((float *)job->values + base);
        const float *q = s->y + t * s->wide + head * D;
        float *out = s->z + ((size_t)t * m->heads + head) * D, *p = s->p + 4 * worker * s->seen;
#define CASE(W, N) if (D == W && R == N && kind) attend(q, keys, values, seen, W, N, 1, p, s->seen, out); else
        CASE(64, 1) CASE(64, 2) CASE(64, 3) CASE(64, 4) CASE(128, 1) CASE(128, 2) CASE(128, 4)
        for (int r = 0; r < R; r++) attend(q + r * D, keys, values, seen, D, 1, kind, p, s->seen, out + r * D);
    }
}

static void times(State *s, Team *team, const Matrix *a, float *y, int stride) {
    s->matrix = a, s->target = y, s->wide = stride;
    run(team, multiply, s);
}

static void prepare(State *s, const Matrix *a, const float *x, int size, int stride) {
    s->x.k = a->k;
    for (int t = 0; t < s->rows; t++) quantise(x + (size_t)t * stride, size, &s->x, t);
}

/* Queries and keys normed and turned, keys and values into the cache. */
static void place(State *s) {
    const Model *m = s->m;
    const Job *job = s->job;
    const int D = m->head, kind = m->cache_kind;
    for (int t = 0; t < job->tokens; t++) {
        float *y = s->y + t * s->wide;
        const float *cos = m->cos + (size_t)job->place[t] * (D / 2), *sin = m->sin + (size_t)job->place[t] * (D / 2);
        for (int i = 0; i < m->heads + m->groups; i++) {
            const float *weight = i < m->heads ? s->layer->q_norm : s->layer->k_norm;
            if (weight) rms(y + i * D, weight, D, m->eps, y + i * D);
            turn(y + i * D, cos, sin, D, m->interleaved);
        }
        for (int g = 0; g < m->groups; g++) {
            const int64_t at = s->at * job->layer + job->row[t] * job->line + g * job->group + (int64_t)job->place[t] * D;
            for (int d = 0; d < D; d += TILE) {
                narrow(job->keys, at + d, kind, load(y + (m->heads + g) * D + d));
                narrow(job->values, at + d, kind, load(y + (m->heads + m->groups + g) * D + d));
            }
        }
    }
}

static inline v16 act(v16 x, int gelu) {
    v16 u = x;
    if (gelu) u = (x + x * x * x * 0.044715f) * 1.5957691216f; /* gelu_tanh(x) = x sigmoid(u) */
    return x / (exponential(-u) + 1.0f);
}

static void gate(State *s) { /* act(first half) * second half, in the place of the first */
    const int size = s->m->hidden;
    for (int t = 0; t < s->rows; t++) {
        float *y = s->y + t * s->wide;
        for (int i = 0; i < size; i += TILE) store(y + i, act(load(y + i), s->m->gelu) * load(y + size + i));
    }
}

/* What stands between products of many rows, which torch does: y = x / rms(x) * weight, and y = act(first half of x) *
   second half; `kind` of x and y. */
void norms(const void *x, const float *weight, void *y, int64_t rows, int32_t width, float eps, int32_t kind) {
    for (int64_t at = 0; at < rows * width; at += width) {
        v16 s = {0};
        for (int i = 0; i < width; i += TILE) {
            const v16 v = wide(x, at + i, kind);
            s += v * v;
        }
        const float scale = 1.0f / sqrtf(total(s) / width + eps);
        for (int i = 0; i < width; i += TILE) narrow(y, at + i, kind, wide(x, at + i, kind) * scale * load(weight + i));
    }
}

/* The first `heads` of each row of x turned, in place; cos, sin: [row][head / 2]; `stride` numbers from row to row. */
void turns(void *x, const float *cos, const float *sin, int64_t rows, int64_t stride, int32_t heads, int32_t head,
           int32_t interleaved, int32_t kind) {
    float one[256];
    for (int64_t row = 0; row < rows; row++, cos += head / 2, sin += head / 2)
        for (int h = 0; h < heads; h++) {
            const int64_t at = row * stride + h * head;
            for (int i = 0; i < head; i += TILE) store(one + i, wide(x, at + i, kind));
            turn(one, cos, sin, head, interleaved);
            for (int i = 0; i < head; i += TILE) narrow(x, at + i, kind, load(one + i));
        }
}

void gates(const void *x, void *y, int64_t rows, int32_t hidden, int32_t gelu, int32_t kind) {
    for (int64_t row = 0; row < rows; row++)
        for (int i = 0; i < hidden; i += TILE) {
            const v16 first = wide(x, 2 * row * hidden + i, kind), second = wide(x, (2 * row + 1) * hidden + i, kind);
            narrow(y, row * hidden + i, kind, act(first, gelu) * second);
        }
}

static void add(State *s, const float *x) {
    for (int t = 0; t < s->rows; t++)
        for (int i = 0; i < s->m->width; i += TILE) {
            float *h = s->h + (size_t)t * s->m->width + i;
            store(h, load(h) + load(x + t * s->wide + i));
        }
}

/* Floats of work that a job needs: `tokens` at once, `seen` steps at most, by `workers`. */
size_t room(const Model *m, int tokens, int seen, int workers) {
    const size_t in = up_to(m->width > m->hidden ? m->width : m->hidden, 64), attended = m->heads * m->head;
    const size_t k = up_to(in > attended ? in : attended, 64);
    const size_t y = up_to(2 * m->hidden, 64) + up_to((m->heads + 2 * m->groups) * m->head, 64) + 64;
    return tokens * (2 * m->width + y + attended + k / 4 + 2 * (k / 32)) + 4 * workers * up_to(seen, TILE) + 1024;
}

const char *path(void) { return PATH; }

void step(const Model *m, const Job *job, Team *team, int seen) {
    State s = {.m = m, .job = job, .rows = job->tokens, .seen = up_to(seen, TILE)};
    const size_t T = job->tokens, W = m->width, attended = m->heads * m->head;
    const size_t in = up_to(m->width > m->hidden ? m->width : m->hidden, 64);
    const size_t k = up_to(in > attended ? in : attended, 64);
    const size_t y = up_to(2 * m->hidden, 64) + up_to((m->heads + 2 * m->groups) * m->head, 64) + 64;
    float *at = job->work;
    s.h = at, at += T * W;
    s.n = at, at += T * W;
    s.y = at, at += T * y;
    s.z = at, at += T * attended;
    s.x.scale = at, at += T * (k / 32);
    s.x.sum = (int32_t *)at, at += T * (k / 32);
    s.x.q = (int8_t *)at, at += T * (k / 4);
    s.p = at;
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < W; i += TILE) store(s.h + t * W + i, wide(m->embed, job->id[t] * W + i, m->embed_kind));
    for (s.at = 0; s.at < m->layers; s.at++) {
        const Layer *l = s.layer = m->layer + s.at;
        for (size_t t = 0; t < T; t++) rms(s.h + t * W, l->norm1, W, m->eps, s.n + t * W);
        prepare(&s, &l->qkv, s.n, W, W);
        times(&s, team, &l->qkv, s.y, l->qkv.n);
        place(&s);
        run(team, attention, &s);
        prepare(&s, &l->out, s.z, attended, attended);
        times(&s, team, &l->out, s.y, l->out.n);
        add(&s, s.y);
        for (size_t t = 0; t < T; t++) rms(s.h + t * W, l->norm2, W, m->eps, s.n + t * W);
        prepare(&s, &l->up, s.n, W, W);
        times(&s, team, &l->up, s.y, l->up.n);
        gate(&s);
        prepare(&s, &l->down, s.y, m->hidden, s.wide);
        times(&s, team, &l->down, s.y, l->down.n);
        add(&s, s.y);
    }
    s.rows = job->outs;
    for (int i = 0; i < job->outs; i++) rms(s.h + job->out[i] * W, m->norm, W, m->eps, s.n + i * W);
    prepare(&s, &m->top, s.n, W, W);
    times(&s, team, &m->top, job->logits, m->top.n);
}
