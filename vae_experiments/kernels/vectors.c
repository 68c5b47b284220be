/* Convolutions in float32 on a CPU's vector units, forwards and backwards, with the bias and the ReLU behind them.
 *
 * All of it is one kind of product, sums[m][n] += x[m_at[m] + k_at[k]] * b[k][n], where two tables say where x lies:
 *   - a convolution: m are pixels, k the values that the kernel sees (a channel under a tap), n the written channels;
 *   - the weights' gradient: m are the values, k the pixels, n the gradient's channels;
 *   - what winograd.h makes of either, of the kernels that it suits.
 *
 * A gradient that comes from behind a ReLU is taken through it as it is read: `mask` is what the ReLU returned, and
 * only where that is positive counts the gradient.
 *
 * Each thread takes a part of the batch. The same number of threads gives the same bits.
 */
#include "layout.h"
#include "products.h"
#include "winograd.h"

enum {
    SECTION = 108, /* pixels whose sums are kept at a time; a multiple of ROWS */
    FEW = 4,       /* written channels that would leave most of a vector empty */
    PIXELS = 8,    /* that are summed at a time where there are so few */
};

/* 0 if the CPU has all that is used here. */
int request(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("fma")) return -1;
#ifdef __AVX512F__
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq")) return -1;
    return __builtin_cpu_supports("avx512vl") ? 0 : -1;
#else
    return __builtin_cpu_supports("avx2") ? 0 : -1;
#endif
}

/* ---- convolution ---- */

typedef struct {
    Shape shape;
    Layout layout;
    int relu, depth; /* values of a pixel of the staged image */
    size_t *m_at;    /* of the pixels of one class after another, each filled up to whole products */
    size_t *k_at;    /* of the channels under one tap after another */
    float *weights;  /* tile after tile, for WIDE written channels, in the order of k_at */
    float *biases;
} Plan;

/* Few written channels: vectors lie along the read ones instead. */
static int is_thin(const Shape *s) { return s->out_channels <= FEW && s->channels >= LANES; }

static size_t pixels_at(const Layout *l, const Class *class, int depth, size_t *m_at) {
    int pixels = class->rows * class->columns;
    for (int i = 0; i < filled(pixels); i++) {
        int m = least(i, pixels - 1), u = m / class->columns, v = m % class->columns;
        m_at[i] = ((size_t)u * l->columns + v) * l->in_step * depth;
    }
    return filled(pixels);
}

static void values_at(const Layout *l, int channels, int depth, size_t *k_at) {
    for (int t = 0; t < l->n_taps; t++)
        for (int c = 0; c < channels; c++)
            *k_at++ = ((size_t)l->taps[t].y * l->columns + l->taps[t].x) * depth + c;
}

static void pack(const Plan *p, const float *weights, const Weights *w, int tile) {
    const Shape *s = &p->shape;
    int count = least(WIDE, s->out_channels - tile * WIDE), width = (int)up(count, LANES);
    float *to = p->weights + (size_t)tile * WIDE * p->layout.n_taps * s->channels;
    for (int t = 0; t < p->layout.n_taps; t++) {
        const float *tap = at_tap(weights + tile * WIDE * w->written, w, s->kernel, p->layout.taps[t].weights);
        for (int c = 0; c < s->channels; c++, to += width)
            for (int n = 0; n < width; n++) to[n] = n < count ? tap[c * w->read + n * w->written] : 0;
    }
}

/* Weights [written][tap][depth]. */
static void pack_thin(const Plan *p, const float *weights, const Weights *w) {
    const Shape *s = &p->shape;
    float *to = p->weights;
    for (int o = 0; o < s->out_channels; o++)
        for (int t = 0; t < p->layout.n_taps; t++, to += p->depth) {
            const float *tap = at_tap(weights + o * w->written, w, s->kernel, p->layout.taps[t].weights);
            for (int c = 0; c < p->depth; c++) to[c] = c < s->channels ? tap[c * w->read] : 0;
        }
}

/* Sums [pixels][pitch] as what the layer returns, of the pixels from `first` on of a class. */
static void put(const Plan *p, const Class *class, int first, int pixels, const float *sums, int pitch, int channel,
                float *y) {
    const Shape *s = &p->shape;
    const Layout *l = &p->layout;
    int count = least(WIDE, s->out_channels - channel), u = first / class->columns, v = first % class->columns;
    const float *bias = p->biases + channel;
    for (int m = 0; m < pixels; m++, sums += pitch) {
        int row = class->row + u * l->out_step, column = class->column + v * l->out_step;
        float *to = y + ((size_t)row * s->out_width + column) * s->out_channels + channel;
        for (int n = 0; n < pitch; n += LANES) {
            vector value = load(sums + n) + load(bias + n);
            store_first(count - n, to + n, p->relu ? rectified(value) : value);
        }
        if (++v == class->columns) v = 0, u++;
    }
}

/* Sums [pixels][FEW] of a class. */
static void convolve_thin(const Plan *p, const Class *class, const float *staged, const size_t *m_at, int pixels,
                          float *sums) {
    const Layout *l = &p->layout;
    for (int m = 0; m < pixels; m += PIXELS)
        for (int o = 0; o < p->shape.out_channels; o++) {
            const float *at[PIXELS], *b = p->weights + (size_t)(o * l->n_taps + class->first_tap) * p->depth;
            vector sum[PIXELS] = {0};
            for (int i = 0; i < PIXELS; i++) at[i] = staged + m_at[least(m + i, pixels - 1)];
            for (int t = class->first_tap; t < class->last_tap; t++) {
                size_t tap = ((size_t)l->taps[t].y * l->columns + l->taps[t].x) * p->depth;
                for (int c = 0; c < p->depth; c += LANES, b += LANES) {
                    vector of_b = load(b);
                    for (int i = 0; i < PIXELS; i++) sum[i] += load(at[i] + tap + c) * of_b;
                }
            }
            for (int i = 0; i < PIXELS && m + i < pixels; i++) sums[(m + i) * FEW + o] = summed(sum[i]);
        }
}

/* One class of an image's pixels, for the written channels of a tile. */
static void convolve_class(const Plan *p, const Class *class, const float *staged, const size_t *m_at, int tile,
                           float *sums, float *y, Ahead *next) {
    const Shape *s = &p->shape;
    int pixels = class->rows * class->columns, channel = tile * WIDE;
    int width = least(WIDE, (int)up(s->out_channels - channel, LANES));
    int first_k = class->first_tap * s->channels, last_k = class->last_tap * s->channels;
    int section = filled(equal_part(pixels, SECTION)), depth = equal_part(last_k - first_k, DEPTH);
    const float *weights = p->weights + (size_t)channel * p->layout.n_taps * s->channels;
    for (int first = 0; first < pixels; first += section) {
        int count = least(section, pixels - first);
        if (is_thin(s)) {
            convolve_thin(p, class, staged, m_at + first, count, sums);
            put(p, class, first, count, sums, FEW, channel, y);
            continue;
        }
        for (int k = first_k; k < last_k; k += depth)
            for (int m = 0; m < count; m += ROWS) {
                float *to = sums + m * width;
                int of_k = least(depth, last_k - k);
                multiply(width, k == first_k, staged, m_at + first + m, p->k_at + k, of_k, weights + (size_t)k * width,
                         width, to, next);
                if (k + depth >= last_k) put(p, class, first + m, least(ROWS, count - m), to, width, channel, y);
            }
    }
}

/* y = relu(convolution(x where mask > 0) + bias); mask and bias may be NULL. Transposed: its adjoint, which takes
 * images of `out_*` to those of `height`, `width` in PyTorch's terms; here, too, x has `height` and y `out_height`. */
int convolve(const float *x, const float *mask, const float *weights, const Weights *w, const float *bias, float *y,
             const Shape *s, int transposed, int relu, int threads) {
    if (!transposed && is_winograd(s)) return winograd_convolve(x, mask, weights, w, bias, y, s, relu, threads);
    Plan p = {.shape = *s, .relu = relu};
    lay_out(&p.layout, s, transposed);
    const Layout *l = &p.layout;
    int tiles = (int)up(s->out_channels, WIDE) / WIDE, pixels = 0;
    p.depth = is_thin(s) ? (int)up(s->channels, LANES) : s->channels;
    for (int c = 0; c < l->n_classes; c++) pixels += filled(l->classes[c].rows * l->classes[c].columns);
    size_t staged_size = up((size_t)l->rows * l->columns * p.depth, LANES);
    size_t image_size = (size_t)s->height * s->width * s->channels;
    size_t weights_size = (size_t)tiles * WIDE * l->n_taps * p.depth;
    p.m_at = malloc(pixels * sizeof(size_t));
    p.k_at = malloc(l->n_taps * s->channels * sizeof(size_t));
    p.weights = aligned_alloc(64, up(weights_size * sizeof(float), 64));
    p.biases = calloc(up(s->out_channels, LANES), sizeof(float));
    int failed = !p.m_at || !p.k_at || !p.weights || !p.biases;
    if (!failed) {
        if (bias) memcpy(p.biases, bias, s->out_channels * sizeof(float));
        values_at(l, s->channels, p.depth, p.k_at);
        size_t *m_at = p.m_at;
        for (int c = 0; c < l->n_classes; c++) m_at += pixels_at(l, &l->classes[c], p.depth, m_at);
    }
#pragma omp parallel num_threads(threads) reduction(| : failed) if (!failed)
    {
        float *staged = scratch((staged_size + SECTION * WIDE) * sizeof(float)), *sums = staged + staged_size;
        failed |= !staged || !p.m_at || !p.k_at || !p.weights || !p.biases;
#pragma omp for schedule(static)
        for (int tile = 0; tile < tiles; tile++) {
            if (failed) continue;
            if (is_thin(s)) pack_thin(&p, weights, w);
            else pack(&p, weights, w, tile);
        }
        if (!failed) memset(staged, 0, staged_size * sizeof(float));
#pragma omp for schedule(static)
        for (int image = 0; image < s->batch; image++) {
            if (failed) continue;
            const float *xi = x + image * image_size, *xm = mask ? mask + image * image_size : NULL;
            float *to = y + (size_t)image * s->out_height * s->out_width * s->out_channels;
            Ahead next = image + 1 < s->batch ? ahead(xi, xm, image_size, NULL, NULL, 0) : nothing;
            stage(xi, xm, s->height, s->width, s->channels, l->rows, l->columns, l->top, l->left, p.depth, staged,
                  NULL);
            const size_t *m_at = p.m_at;
            for (int c = 0; c < l->n_classes; c++) {
                const Class *class = &l->classes[c];
                for (int tile = 0; tile < tiles; tile++)
                    convolve_class(&p, class, staged, m_at, tile, sums, to, &next);
                m_at += filled(class->rows * class->columns);
            }
        }
    }
    free(p.m_at), free(p.k_at), free(p.weights), free(p.biases);
    return failed ? NO_MEMORY : DONE;
}

/* ---- the weights' gradient ---- */

/* The gradient of the weights of the convolution of x whose output's gradient is g, into `result`; and the sums over
 * all pixels of each channel of x and of g, where asked for. Masks may be NULL. */
int gradient(const float *x, const float *x_mask, const float *g, const float *g_mask, float *result, const Weights *w,
             float *x_sums, float *g_sums, const Shape *s, int threads) {
    if (is_winograd(s)) return winograd_gradient(x, x_mask, g, g_mask, result, w, x_sums, g_sums, s, threads);
    Layout l;
    lay_out(&l, s, 0);
    int n_values = l.n_taps * s->channels, depth = s->channels;
    int pixels = s->out_height * s->out_width, g_depth = (int)up(s->out_channels, LANES);
    int tiles = (int)up(s->out_channels, WIDE) / WIDE, part_of_k = equal_part(pixels, DEPTH);
    l.rows = most(l.rows, l.top + s->height), l.columns = most(l.columns, l.left + s->width); /* x_sums are of all */
    size_t x_image = (size_t)s->height * s->width * s->channels, g_image = (size_t)pixels * s->out_channels;
    size_t x_size = up((size_t)l.rows * l.columns * depth, LANES), g_size = (size_t)pixels * g_depth;
    size_t weight_sums = (size_t)filled(n_values) * g_depth, x_line = up((size_t)s->width * depth, LANES);
    size_t g_line = (size_t)s->out_width * g_depth, all_sums = weight_sums + x_line + g_line;
    size_t *m_at = malloc(filled(n_values) * sizeof(size_t)), *k_at = malloc(filled(pixels) * sizeof(size_t));
    float *sums = aligned_alloc(64, up(all_sums * threads * sizeof(float), 64));
    int failed = !m_at || !k_at || !sums, team = 1;
    if (!failed) {
        values_at(&l, s->channels, depth, m_at);
        for (int i = n_values; i < filled(n_values); i++) m_at[i] = m_at[n_values - 1];
        pixels_at(&l, &l.classes[0], depth, k_at);
    }
#pragma omp parallel num_threads(threads) reduction(| : failed) if (!failed)
    {
        int thread = omp_get_thread_num();
        float *staged = scratch((x_size + g_size) * sizeof(float)), *g_staged = staged + x_size;
        failed |= !staged || !m_at || !k_at || !sums;
#pragma omp single
        team = omp_get_num_threads();
        if (!failed) {
            float *own = sums + thread * all_sums;
            float *x_own = x_sums ? own + weight_sums : NULL, *g_own = g_sums ? own + weight_sums + x_line : NULL;
            memset(own, 0, all_sums * sizeof(float));
            memset(staged, 0, (x_size + g_size) * sizeof(float));
            int part = (s->batch + team - 1) / team, last = least((thread + 1) * part, s->batch);
            for (int image = thread * part; image < last; image++) {
                const float *xi = x + image * x_image, *xm = x_mask ? x_mask + image * x_image : NULL;
                const float *gi = g + image * g_image, *gm = g_mask ? g_mask + image * g_image : NULL;
                Ahead next = image + 1 < last ? ahead(xi, xm, x_image, gi, gm, g_image) : nothing;
                stage(xi, xm, s->height, s->width, s->channels, l.rows, l.columns, l.top, l.left, depth, staged, x_own);
                stage(gi, gm, s->out_height, s->out_width, s->out_channels, s->out_height, s->out_width, 0, 0, g_depth,
                      g_staged, g_own);
                for (int tile = 0; tile < tiles; tile++) {
                    int width = least(WIDE, g_depth - tile * WIDE);
                    float *of_tile = own + (size_t)tile * WIDE * filled(n_values);
                    for (int k = 0; k < pixels; k += part_of_k)
                        for (int m = 0; m < n_values; m += ROWS)
                            multiply(width, 0, staged, m_at + m, k_at + k, least(part_of_k, pixels - k),
                                     g_staged + (size_t)k * g_depth + tile * WIDE, g_depth,
                                     of_tile + (size_t)m * width, &next);
                }
            }
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int m = 0; m < n_values; m++)
            for (int o = 0; o < s->out_channels && !failed; o += LANES) {
                int width = least(WIDE, g_depth - o / WIDE * WIDE), channel = m % s->channels;
                const float *from = sums + (size_t)(o / WIDE * WIDE) * filled(n_values) + (size_t)m * width + o % WIDE;
                float *to = (float *)at_tap(result, w, s->kernel, m / s->channels) + channel * w->read + o * w->written;
                vector sum = load(from);
                for (int i = 1; i < team; i++) sum += load(from + i * all_sums);
                for (int n = 0; n < least(LANES, s->out_channels - o); n++) to[n * w->written] = sum[n];
            }
    }
    if (!failed) {
        const float *lines = sums + weight_sums;
        if (x_sums) fold(lines, team, all_sums, s->width, depth, s->channels, x_sums);
        if (g_sums) fold(lines + x_line, team, all_sums, s->out_width, g_depth, s->out_channels, g_sums);
    }
    free(m_at), free(k_at), free(sums);
    return failed ? NO_MEMORY : DONE;
}
