/* Convolutions in float32 on a CPU's vector units, forwards and backwards, with the bias and the ReLU behind them.
 *
 * All of it is one kind of product, sums[m][n] += x[m_at[m] + k_at[k]] * b[k][n], where two tables say where x lies:
 *   - a convolution: m are pixels, k the values that the kernel sees (a channel under a tap), n the written channels;
 *   - the weights' gradient: m are the values, k the pixels, n the gradient's channels;
 *   - what vector_squares.h makes of either, of the kernels that it suits.
 */
#include "layout.h"
typedef float Number; /* that images consist of */
#include "run.h"
#include "products.h"
#include "vector_squares.h"

/* Whether a convolution's gradient is found sooner of that to its input, whose shape this is: channels of the gradient
 * that are few fill vectors badly. */
int is_better_turned(const Shape *s) { return s->channels < least(16, s->out_channels); }

/* 0 if the CPU has all that is used here. */
int request(void) { return has_lanes() ? 0 : -1; }

enum {
    SECTION = 108, /* pixels whose sums are kept at a time; a multiple of ROWS */
    FEW = 4,       /* written channels that would leave most of a vector empty */
    PIXELS = 8,    /* that are summed at a time where there are so few */
};

/* ---- convolution ---- */

/* Few written channels: vectors lie along the read ones instead. */
static int is_thin(const Shape *s) { return s->out_channels <= FEW && s->channels >= LANES; }

/* Of the pixels of a class, filled up to whole products; returns how many these are. */
static size_t pixels_at(const Layout *l, const Class *class, int depth, size_t *m_at) {
    int pixels = class->rows * class->columns;
    for (int i = 0; i < filled(pixels); i++) {
        int m = least(i, pixels - 1), u = m / class->columns, v = m % class->columns;
        m_at[i] = ((size_t)u * l->columns + v) * l->in_step * depth;
    }
    return filled(pixels);
}

/* Of the channels under one tap after another. */
static void values_at(const Layout *l, int channels, int depth, size_t *k_at) {
    for (int t = 0; t < l->n_taps; t++)
        for (int c = 0; c < channels; c++)
            *k_at++ = ((size_t)l->taps[t].y * l->columns + l->taps[t].x) * depth + c;
}

static void pack(const void *plan, int tile) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const Weights *w = &p->work.w;
    int count = least(WIDE, s->out_channels - tile * WIDE);
    size_t of_tap = up(count, LANES) * s->channels;
    float *to = p->weights + (size_t)tile * WIDE * p->layout.n_taps * s->channels;
    for (int t = 0; t < p->layout.n_taps; t++, to += of_tap) {
        const float *tap = p->work.weights + tap_at(w, s->kernel, p->layout.taps[t].weights);
        get_weights(tap + tile * WIDE * w->written, w, s->channels, count, to);
    }
}

/* Weights [written][tap][depth]. */
static void pack_thin(const void *plan, int o) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const Weights *w = &p->work.w;
    int depth = p->grid.depth;
    float *to = p->weights + (size_t)o * p->layout.n_taps * depth;
    for (int t = 0; t < p->layout.n_taps; t++, to += depth) {
        const float *tap = p->work.weights + tap_at(w, s->kernel, p->layout.taps[t].weights) + o * w->written;
        for (int c = 0; c < depth; c++) to[c] = c < s->channels ? tap[c * w->read] : 0;
    }
}

/* Sums [pixels][pitch] as what the layer returns, of the pixels from `first` on of a class. */
static void put(const Plan *p, const Class *class, int first, int pixels, const float *sums, int pitch, int channel,
                float *y) {
    const Shape *s = &p->work.shape;
    const Layout *l = &p->layout;
    int count = least(WIDE, s->out_channels - channel), u = first / class->columns, v = first % class->columns;
    const float *bias = p->biases + channel;
    for (int m = 0; m < pixels; m++, sums += pitch) {
        int row = class->row + u * l->out_step, column = class->column + v * l->out_step;
        float *to = y + ((size_t)row * s->out_width + column) * s->out_channels + channel;
        for (int n = 0; n < pitch; n += LANES) {
            vector value = load(sums + n) + load(bias + n);
            store_first(count - n, to + n, p->work.relu ? rectified(value) : value);
        }
        if (++v == class->columns) v = 0, u++;
    }
}

/* Sums [pixels][FEW] of a class. */
static void convolve_thin(const Plan *p, const Class *class, const float *staged, const size_t *m_at, int pixels,
                          float *sums) {
    const Layout *l = &p->layout;
    int depth = p->grid.depth;
    for (int m = 0; m < pixels; m += PIXELS)
        for (int o = 0; o < p->work.shape.out_channels; o++) {
            const float *at[PIXELS], *b = p->weights + (size_t)(o * l->n_taps + class->first_tap) * depth;
            vector sum[PIXELS] = {0};
            for (int i = 0; i < PIXELS; i++) at[i] = staged + m_at[least(m + i, pixels - 1)];
            for (int t = class->first_tap; t < class->last_tap; t++) {
                size_t tap = ((size_t)l->taps[t].y * l->columns + l->taps[t].x) * depth;
                for (int c = 0; c < depth; c += LANES, b += LANES) {
                    vector of_b = load(b);
                    for (int i = 0; i < PIXELS; i++) sum[i] += load(at[i] + tap + c) * of_b;
                }
            }
            for (int i = 0; i < PIXELS && m + i < pixels; i++) sums[(m + i) * FEW + o] = summed(sum[i]);
        }
}

/* One class of an image's pixels, for the written channels of a tile. */
static void convolve_class(const Plan *p, const Class *class, const size_t *m_at, int tile, Image *image) {
    const Shape *s = &p->work.shape;
    int pixels = class->rows * class->columns, channel = tile * WIDE;
    int width = least(WIDE, (int)up(s->out_channels - channel, LANES));
    int first_k = class->first_tap * s->channels, last_k = class->last_tap * s->channels;
    int section = filled(equal_part(pixels, SECTION)), depth = equal_part(last_k - first_k, DEPTH);
    const float *staged = image->memory, *weights = p->weights + (size_t)channel * p->layout.n_taps * s->channels;
    float *sums = image->memory + grid_size(&p->grid);
    for (int first = 0; first < pixels; first += section) {
        int count = least(section, pixels - first);
        if (is_thin(s)) {
            convolve_thin(p, class, staged, m_at + first, count, sums);
            put(p, class, first, count, sums, FEW, channel, image->y);
            continue;
        }
        for (int k = first_k; k < last_k; k += depth)
            for (int m = 0; m < count; m += ROWS) {
                float *to = sums + m * width;
                multiply(width, k == first_k, staged, m_at + first + m, p->k_at + k, least(depth, last_k - k),
                         weights + (size_t)k * width, width, to, &image->next);
                if (k + depth >= last_k)
                    put(p, class, first + m, least(ROWS, count - m), to, width, channel, image->y);
            }
    }
}

static void convolve_image(const void *plan, Image *image) {
    const Plan *p = plan;
    const size_t *m_at = p->m_at;
    stage(&p->work, image, X, &p->grid, image->memory);
    for (int c = 0; c < p->layout.n_classes; c++) {
        const Class *class = &p->layout.classes[c];
        for (int tile = 0; tile < p->tiles; tile++) convolve_class(p, class, m_at, tile, image);
        m_at += filled(class->rows * class->columns);
    }
}

static int run_convolution(const Work *asked, int transposed) {
    const Shape *s = &asked->shape;
    if (!transposed && is_winograd(s)) return run_squares(asked);
    Plan p = {.work = *asked};
    Layout *l = &p.layout;
    lay_out(l, s, transposed);
    int thin = is_thin(s), depth = thin ? (int)up(s->channels, LANES) : s->channels, pixels = 0;
    p.grid = (Grid){l->rows, l->columns, l->top, l->left, depth};
    for (int c = 0; c < l->n_classes; c++) pixels += filled(l->classes[c].rows * l->classes[c].columns);
    if (!allocate(&p, (size_t)l->n_taps * depth, pixels, l->n_taps * s->channels)) return NO_MEMORY;
    values_at(l, s->channels, depth, p.k_at);
    size_t *m_at = p.m_at;
    for (int c = 0; c < l->n_classes; c++) m_at += pixels_at(l, &l->classes[c], depth, m_at);
    p.work.memory = p.work.zeroed + SECTION * WIDE, p.work.compute = convolve_image;
    p.work.pieces_before = thin ? s->out_channels : p.tiles, p.work.prepare = thin ? pack_thin : pack;
    return run(&p.work);
}

/* ---- the weights' gradient ---- */

static void add_gradient(const void *plan, Image *image) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    float *staged = image->memory, *g_staged = staged + grid_size(&p->grid);
    int pixels = s->out_height * s->out_width, depth = equal_part(pixels, DEPTH), g_depth = p->g_grid.depth;
    int n_values = s->kernel * s->kernel * s->channels;
    stage(&p->work, image, X, &p->grid, staged);
    stage(&p->work, image, G, &p->g_grid, g_staged);
    for (int tile = 0; tile < p->tiles; tile++) {
        int width = least(WIDE, g_depth - tile * WIDE);
        float *sums = image->sums + (size_t)tile * WIDE * filled(n_values);
        for (int k = 0; k < pixels; k += depth)
            for (int m = 0; m < n_values; m += ROWS)
                multiply(width, 0, staged, p->m_at + m, p->k_at + k, least(depth, pixels - k),
                         g_staged + (size_t)k * g_depth + tile * WIDE, g_depth, sums + (size_t)m * width, &image->next);
    }
}

/* The threads' sums of LANES channels under a tap. */
static void put_gradient(const void *plan, int piece, const float *sums, size_t next, int team) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const Weights *w = &p->work.w;
    int blocks = (s->channels + LANES - 1) / LANES, tap = piece / blocks, c = piece % blocks * LANES;
    int n_values = s->kernel * s->kernel * s->channels, n_read = least(LANES, s->channels - c);
    float *to = p->work.gradient + tap_at(w, s->kernel, tap) + c * w->read;
    for (int o = 0; o < s->out_channels; o += LANES) {
        int tile = o / WIDE * WIDE, width = least(WIDE, p->g_grid.depth - tile);
        const float *from = sums + (size_t)tile * filled(n_values) + o % WIDE;
        from += (size_t)(tap * s->channels + c) * width;
        vector r[LANES] = {{0}};
        for (int i = 0; i < n_read; i++, from += width) {
            r[i] = load(from);
            for (int thread = 1; thread < team; thread++) r[i] += load(from + thread * next);
        }
        put_weights(r, w, n_read, s->out_channels - o, to + o * w->written);
    }
}

static int run_gradient(const Work *asked) {
    const Shape *s = &asked->shape;
    if (is_winograd(s)) return run_squares_gradient(asked);
    Plan p = {.work = *asked};
    Layout *l = &p.layout;
    lay_out(l, s, 0);
    int pixels = s->out_height * s->out_width, n_values = l->n_taps * s->channels;
    l->rows = most(l->rows, l->top + s->height), l->columns = most(l->columns, l->left + s->width); /* x_sums: of all */
    p.grid = (Grid){l->rows, l->columns, l->top, l->left, s->channels};
    p.g_grid = (Grid){s->out_height, s->out_width, 0, 0, (int)up(s->out_channels, LANES)};
    if (!allocate(&p, 0, filled(n_values), filled(pixels))) return NO_MEMORY;
    values_at(l, s->channels, s->channels, p.m_at);
    for (int i = n_values; i < filled(n_values); i++) p.m_at[i] = p.m_at[n_values - 1];
    pixels_at(l, &l->classes[0], s->channels, p.k_at);
    p.work.memory = p.work.zeroed, p.work.sums = (size_t)filled(n_values) * p.g_grid.depth;
    p.work.pieces_after = l->n_taps * ((s->channels + LANES - 1) / LANES);
    p.work.compute = add_gradient, p.work.finish = put_gradient;
    return run(&p.work);
}
