/* What is done with all weights of a network after a backward pass: the norm of their gradient, and Adam's update.
 *
 * Threads share them in pieces, whichever parameter they belong to; the number of threads changes no bit of a result.
 */
#include <math.h>
#include <omp.h>

#include "lanes.h"

/* 0 if the CPU has all that is used here. */
int request(void) { return has_lanes() ? 0 : -1; }

enum {
    PIECES = 64,    /* of all weights together, shared by the threads */
    SECTION = 4096, /* numbers that are summed in float32; beyond, in float64 */
};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static inline vector root(vector x) {
#ifdef __AVX512F__
    return (vector)_mm512_sqrt_ps((__m512)x);
#else
    return (vector)_mm256_sqrt_ps((__m256)x);
#endif
}

/* The weights of one parameter, and what is known of them; all lie in the same order. */
typedef struct {
    int64_t size;
    float *weights;
    const float *gradient;
    float *mean, *square, *steps; /* Adam's: moments of the gradient, and one number of steps */
} Weights;

/* The part of a parameter's weights that belongs to a piece of all of them. */
typedef struct { int64_t first, last; } Part;

static int64_t size_of(const Weights *w, int count) {
    int64_t size = 0;
    for (int i = 0; i < count; i++) size += w[i].size;
    return size;
}

/* `before` weights are those of the parameters before it, `size` all of them. */
static Part part_of(const Weights *w, int64_t before, int piece, int64_t size) {
    int64_t first = size * piece / PIECES - before, last = size * (piece + 1) / PIECES - before;
    return (Part){most(first, 0), least(last, w->size)};
}

static double squares(const float *x, Part part) {
    double result = 0;
    for (int64_t section = part.first; section < part.last; section += SECTION) {
        vector sum[4] = {0};
        int64_t i = section, end = least(section + SECTION, part.last);
        for (; i + 4 * LANES <= end; i += 4 * LANES)
            for (int j = 0; j < 4; j++) {
                vector value = load(x + i + j * LANES);
                sum[j] += value * value;
            }
        for (; i < end; i += LANES) {
            vector value = load_first(least(end - i, LANES), x + i);
            sum[0] += value * value;
        }
        result += summed((sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
    return result;
}

/* The Euclidean norm of the gradient of all parameters together. */
void norm(const Weights *w, int count, float *result, int threads) {
    int64_t size = size_of(w, count);
    double sums[PIECES] = {0}, sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int piece = 0; piece < PIECES; piece++)
        for (int64_t i = 0, before = 0; i < count; before += w[i++].size)
            sums[piece] += squares(w[i].gradient, part_of(w + i, before, piece, size));
    for (int piece = 0; piece < PIECES; piece++) sum += sums[piece];
    *result = sqrt(sum);
}

/* As torch.optim.Adam has them; `decoupled` is what makes it AdamW. */
typedef struct { double lr, beta1, beta2, eps, decay; int decoupled; } Settings;

static void update(const Weights *w, Part part, const Settings *s) {
    if (part.first >= part.last) return;
    double steps = *w->steps, correction = sqrt(1 - pow(s->beta2, steps));
    float step = s->lr / (1 - pow(s->beta1, steps)), eps = s->eps;
    float to_mean = 1 - s->beta1, beta2 = s->beta2, to_square = 1 - s->beta2, root_factor = 1 / correction;
    float coupled = s->decoupled ? 0 : s->decay, kept = s->decoupled ? 1 - s->lr * s->decay : 1;
    for (int64_t i = part.first; i < part.last; i += LANES) {
        int count = least(part.last - i, LANES);
        vector x = load_first(count, w->weights + i), g = load_first(count, w->gradient + i) + coupled * x;
        vector mean = load_first(count, w->mean + i), square = load_first(count, w->square + i);
        mean += to_mean * (g - mean);
        square = beta2 * square + to_square * g * g;
        x = kept * x - step * mean / (root(square) * root_factor + eps);
        store_first(count, w->mean + i, mean);
        store_first(count, w->square + i, square);
        store_first(count, w->weights + i, x);
    }
}

/* One step, counted in each parameter's `steps`. */
void adam(const Weights *w, int count, const Settings *s, int threads) {
    int64_t size = size_of(w, count);
    for (int i = 0; i < count; i++) *w[i].steps += 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int piece = 0; piece < PIECES; piece++)
        for (int64_t i = 0, before = 0; i < count; before += w[i++].size)
            update(w + i, part_of(w + i, before, piece, size), s);
}
