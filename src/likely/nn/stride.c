/* A few more tokens for many rows of a small decoder, in float32: embed, layers, norm, in one call.

   h = embed(token) + position
   h = h + out(attend(qkv(norm(h))))     keys and values go into the caller's cache, and are read from it
   h = h + down(act(up(norm(h))))        gated: act(first half) * second half
   y = norm(h) behind the last of them

   Weights lie in panels of 32 outputs, [n / 32][k][32], so that eight rows and a panel stay in registers; sizes are
   whole 16s, outputs padded to whole 32s. All rows are at the same place of their text. A line: a token of a row. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lanes.h"

#define PANEL 32
#define MOST 8 /* query heads that share keys at a time */
#if defined(__AVX512F__)
#define ROWS 8 /* rows of a product at a time */
#else
#define ROWS 3
#endif
#define UNROLL _Pragma("GCC unroll 16")

typedef struct {
    const float *w, *bias; /* panels; bias of n numbers, or NULL */
    int32_t n, k;          /* n: whole panels */
} Matrix;

typedef struct {
    Matrix qkv, out, up, down;
    const float *norm1, *shift1, *norm2, *shift2; /* shifts NULL: RMS norm */
    const float *q_norm, *k_norm;                 /* NULL where heads are not normed */
} Layer;

typedef struct {
    int32_t layers, width, heads, groups, head, hidden, interleaved, act, gated, window; /* act: see `activate` */
    float eps;
    const Layer *layer;
    const float *norm, *shift, *embed, *position; /* position NULL where they are rotary or none */
    const float *cos, *sin;                       /* [place][head / 2], or NULL */
} Model;

typedef struct {
    const int64_t *id;                 /* [rows][tokens] */
    float *keys, *values;              /* of layer 0, row 0 */
    int64_t to_layer, to_row, to_group; /* distances in numbers */
    float *y, *work;                   /* [rows][width]; room(...) floats */
    int32_t rows, tokens, at;          /* new tokens of each row; at: steps so far */
} Job;

static inline v16 normal(v16 x) { /* Phi(x) = (1 + erf(x / sqrt 2)) / 2, error 1e-7: Abramowitz and Stegun 7.1.26 */
    const v16 z = (v16)((i16v)x & 0x7fffffff) * 0.70710678f, t = 1.0f / (z * 0.3275911f + 1.0f);
    const v16 p = ((((t * 1.061405429f - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    const v16 tail = p * exponential(-z * z) * 0.5f;
    return choose(x < 0.0f, tail, 1.0f - tail);
}

static inline v16 activate(v16 x, int act) {
    switch (act) {
        case 0: return x / (exponential(-x) + 1.0f);                                           /* silu */
        case 1: return x * normal(x);                                                          /* gelu */
        case 2: return x / (exponential((x + x * x * x * 0.044715f) * -1.5957691216f) + 1.0f); /* gelu_tanh */
        default: return choose(x > 0.0f, x, (v16){0});                                         /* relu */
    }
}

static void norm(const float *x, const float *scale, const float *shift, int size, float eps, float *y) {
    v16 sum = {0}, squares = {0};
    float mean = 0;
    if (shift) {
        for (int i = 0; i < size; i += TILE) sum += load(x + i);
        mean = total(sum) / size;
    }
    for (int i = 0; i < size; i += TILE) squares += (load(x + i) - mean) * (load(x + i) - mean);
    const float by = 1.0f / sqrtf(total(squares) / size + eps);
    for (int i = 0; i < size; i += TILE) {
        const v16 v = (load(x + i) - mean) * by * load(scale + i);
        store(y + i, shift ? v + load(shift + i) : v);
    }
}

static inline __attribute__((always_inline)) void block(const Matrix *a, int panel, const float *x, size_t from,
                                                        const int R, float *y, size_t to, int adding) {
    v16 sum[ROWS][2];
    const float *w = a->w + (size_t)panel * a->k * PANEL;
    const v16 first = a->bias ? load(a->bias + panel * PANEL) : (v16){0};
    const v16 second = a->bias ? load(a->bias + panel * PANEL + TILE) : (v16){0};
    UNROLL for (int r = 0; r < R; r++) sum[r][0] = first, sum[r][1] = second;
    for (int i = 0; i < a->k; i++) {
        const v16 p = load(w + i * PANEL), q = load(w + i * PANEL + TILE);
        UNROLL for (int r = 0; r < R; r++) {
            const float v = x[r * from + i];
            sum[r][0] += p * v, sum[r][1] += q * v;
        }
    }
    UNROLL for (int r = 0; r < R; r++) {
        float *at = y + r * to + panel * PANEL;
        store(at, adding ? load(at) + sum[r][0] : sum[r][0]);
        store(at + TILE, adding ? load(at + TILE) + sum[r][1] : sum[r][1]);
    }
}

/* y = w x + bias for each row, or y += that. Rows of y have room for whole panels. */
static void product(const Matrix *a, const float *x, size_t from, int rows, float *y, size_t to, int adding) {
    for (int panel = 0; panel < a->n / PANEL; panel++) {
        int r = 0;
        for (; r + ROWS <= rows; r += ROWS) block(a, panel, x + r * from, from, ROWS, y + r * to, to, adding);
        for (; r < rows; r++) block(a, panel, x + r * from, from, 1, y + r * to, to, adding);
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

/* One query of D numbers over `seen` steps; p: room for as many weights, whole 16s. */
static inline __attribute__((always_inline)) void attend(const float *query, const float *keys, const float *values,
                                                         int seen, const int D, float *p, float *y) {
    const float scale = 1.0f / sqrtf((float)D);
    float most = -INFINITY;
    for (int s = 0; s < seen; s++) {
        v16 sum = {0};
        UNROLL for (int d = 0; d < D; d += TILE) sum += load(query + d) * load(keys + (size_t)s * D + d);
        p[s] = total(sum) * scale;
        most = p[s] > most ? p[s] : most;
    }
    v16 mass = {0};
    for (int s = seen; s % TILE; s++) p[s] = -INFINITY;
    for (int s = 0; s < seen; s += TILE) {
        const v16 e = exponential(load(p + s) - most);
        store(p + s, e);
        mass += e;
    }
    const float share = 1.0f / total(mass);
    for (int begin = 0; begin < D; begin += 64) { /* 64 numbers stay in registers */
        v16 out[4] = {{0}};
        for (int s = 0; s < seen; s++)
            UNROLL for (int i = 0; i < 4; i++)
                if (begin + i * TILE < D) out[i] += load(values + (size_t)s * D + begin + i * TILE) * p[s];
        for (int i = 0; i < 4 && begin + i * TILE < D; i++) store(y + begin + i * TILE, out[i] * share);
    }
}

/* Queries, keys and values of all lines, side by side: keys and values into the cache, what is seen into z. Where only
   `last` lines count, z has these alone, one a row. */
static void attention(const Model *m, const Layer *l, const Job *job, int64_t base, float *y, size_t wide, float *z,
                      float *p, int last) {
    const int D = m->head, share = m->heads / m->groups;
    for (int line = 0; line < job->rows * job->tokens; line++, y += wide) {
        const int row = line / job->tokens, at = job->at + line % job->tokens;
        const int first = m->window && at + 1 > m->window ? at + 1 - m->window : 0, seen = at + 1 - first;
        const int wanted = !last || line % job->tokens == job->tokens - 1;
        for (int i = 0; i < m->heads + m->groups; i++) {
            const float *weight = i < m->heads ? l->q_norm : l->k_norm;
            if (weight) norm(y + i * D, weight, NULL, D, m->eps, y + i * D);
            if (m->cos) turn(y + i * D, m->cos + (size_t)at * (D / 2), m->sin + (size_t)at * (D / 2), D, m->interleaved);
        }
        for (int g = 0; g < m->groups; g++) {
            float *keys = job->keys + base + row * job->to_row + g * job->to_group;
            float *values = job->values + base + row * job->to_row + g * job->to_group;
            memcpy(keys + (size_t)at * D, y + (m->heads + g) * D, D * sizeof(float));
            memcpy(values + (size_t)at * D, y + (m->heads + m->groups + g) * D, D * sizeof(float));
            keys += (size_t)first * D, values += (size_t)first * D;
            for (int i = g * share; wanted && i < (g + 1) * share; i++) {
                float *out = z + ((size_t)(last ? row : line) * m->heads + i) * D;
                switch (D) {
                    case 16: attend(y + i * D, keys, values, seen, 16, p, out); break;
                    case 32: attend(y + i * D, keys, values, seen, 32, p, out); break;
                    case 64: attend(y + i * D, keys, values, seen, 64, p, out); break;
                    default: attend(y + i * D, keys, values, seen, D, p, out);
                }
            }
        }
    }
}

static size_t up_to(size_t n, size_t step) { return (n + step - 1) / step * step; }
static size_t widest(const Model *m) {
    const size_t joint = (m->heads + 2 * m->groups) * m->head, up = m->hidden * (1 + (m->gated != 0));
    return up_to(joint > up ? joint : up, PANEL);
}

/* A matrix w (n, k) as panels, to: room for whole ones. */
void pack(const float *w, int n, int k, float *to) {
    for (int panel = 0; panel < n; panel += PANEL, to += (size_t)k * PANEL)
        for (int j = 0; j < PANEL; j++)
            for (int i = 0; i < k; i++) to[i * PANEL + j] = panel + j < n ? w[(size_t)(panel + j) * k + i] : 0;
}

/* Floats of work that so many lines need after so many steps. */
size_t room(const Model *m, int lines, int steps) {
    return lines * (2 * up_to(m->width, PANEL) + widest(m) + m->heads * m->head) + up_to(steps + 1, TILE) + TILE;
}

void stride(const Model *m, const Job *job) {
    const size_t W = m->width, to = up_to(W, PANEL), wide = widest(m), attended = m->heads * m->head;
    int lines = job->rows * job->tokens;
    float *h = job->work, *n = h + lines * to, *y = n + lines * to, *z = y + lines * wide, *p = z + lines * attended;
    for (int t = 0; t < lines; t++) {
        const float *place = m->position ? m->position + (job->at + t % job->tokens) * W : NULL;
        for (size_t i = 0; i < W; i += TILE) {
            const v16 e = load(m->embed + job->id[t] * W + i);
            store(h + t * to + i, place ? e + load(place + i) : e);
        }
    }
    for (int k = 0; k < m->layers; k++) {
        const Layer *l = m->layer + k;
        const int last = k == m->layers - 1 && job->tokens > 1;
        for (int t = 0; t < lines; t++) norm(h + t * to, l->norm1, l->shift1, W, m->eps, n + t * to);
        product(&l->qkv, n, to, lines, y, wide, 0);
        attention(m, l, job, k * job->to_layer, y, wide, z, p, last);
        if (last) { /* from here on a row is its last line */
            for (int r = 0; r < job->rows; r++) memmove(h + r * to, h + ((r + 1) * job->tokens - 1) * to, to * sizeof(float));
            lines = job->rows;
        }
        product(&l->out, z, attended, lines, h, to, 1);
        for (int t = 0; t < lines; t++) norm(h + t * to, l->norm2, l->shift2, W, m->eps, n + t * to);
        product(&l->up, n, to, lines, y, wide, 0);
        for (int t = 0; t < lines; t++)
            for (float *at = y + t * wide, *end = at + m->hidden; at < end; at += TILE) {
                const v16 v = activate(load(at), m->act);
                store(at, m->gated ? v * load(at + m->hidden) : v);
            }
        product(&l->down, y, wide, lines, h, to, 1);
    }
    for (int r = 0; r < job->rows; r++) norm(h + r * to, m->norm, m->shift, W, m->eps, job->y + r * W);
}
