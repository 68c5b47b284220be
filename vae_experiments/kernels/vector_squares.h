/* Convolutions in float32 by Winograd's minimal filtering, of the kernels that it suits. */
#include "winograd.h"

enum { SQUARES = 60 }; /* at a time */

/* So many values, never a multiple of a cache's size. */
static size_t plane(int squares, int depth) { return ((size_t)filled(squares) * depth) | LANES; }

static Plan plan_squares(const Work *asked) {
    const Shape *s = &asked->shape;
    Plan p = {.work = *asked};
    Squares *q = &p.squares;
    Tiling t = tiled(s);
    q->rows = t.rows, q->columns = t.columns, q->all = t.all, q->part = equal_part(t.all, SQUARES);
    p.grid = (Grid){t.x_rows, t.x_columns, s->padding, s->padding, (int)up(s->channels, LANES)};
    p.g_grid = (Grid){2 * q->rows, 2 * q->columns, 0, 0, (int)up(s->out_channels, LANES)};
    q->plane = plane(q->part, p.grid.depth);
    return p;
}

/* v[place][square][depth] of the squares from `first` on. */
static void see_squares(const Squares *q, const Grid *grid, const float *staged, int first, int count, float *v) {
    int depth = grid->depth;
    size_t row = (size_t)grid->columns * depth;
    for (int i = 0; i < count; i++) {
        int y = (first + i) / q->columns * 2, x = (first + i) % q->columns * 2;
        for (int c = 0; c < depth; c += LANES) {
            const float *from = staged + y * row + (size_t)x * depth + c;
            float *to = v + (size_t)i * depth + c;
            vector d[4][4], seen[4][4];
            for (int place = 0; place < PLACES; place++)
                d[place / 4][place % 4] = load(from + place / 4 * row + place % 4 * depth);
            see(d, seen);
            for (int place = 0; place < PLACES; place++) store(to + place * q->plane, seen[place / 4][place % 4]);
        }
    }
}

/* u[place][channels][width] of the written channels of a tile. */
static void turn_weights(const void *plan, int tile) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const Weights *w = &p->work.w;
    int count = least(WIDE, s->out_channels - tile * WIDE), width = (int)up(count, LANES);
    size_t place = (size_t)s->channels * width;
    const float *first = p->work.weights + tile * WIDE * w->written;
    float *u = p->weights + (size_t)tile * PLACES * s->channels * WIDE;
    for (int c = 0; c < s->channels; c += LANES)
        turn_kernels(first + c * w->read, w, least(LANES, s->channels - c), count, u + (size_t)c * width, place);
}

/* sums [place][square][width] as what the layer returns. */
static void put_squares(const Plan *p, const float *sums, int first, int squares, int width, int channel, float *y) {
    const Squares *q = &p->squares;
    const Shape *s = &p->work.shape;
    int row_size = s->out_width * s->out_channels;
    for (int i = 0; i < squares; i++) {
        int row = (first + i) / q->columns * 2, column = (first + i) % q->columns * 2;
        float *to = y + (size_t)row * row_size + (size_t)column * s->out_channels + channel;
        for (int n = 0; n < width; n += LANES) {
            const float *from = sums + (size_t)i * width + n;
            vector m[4][4], left[2][2];
            for (int place = 0; place < PLACES; place++) m[place / 4][place % 4] = load(from + place * q->out_plane);
            leave(m, left);
            int count = least(LANES, s->out_channels - channel - n);
            for (int j = 0; j < 4; j++) {
                if (row + j / 2 >= s->out_height || column + j % 2 >= s->out_width) continue;
                vector value = left[j / 2][j % 2] + load(p->biases + channel + n);
                if (p->work.relu) value = rectified(value);
                float *at = to + j / 2 * row_size + j % 2 * s->out_channels + n;
                store_first(count, at, value);
            }
        }
    }
}

static void convolve_squares(const void *plan, Image *image) {
    const Plan *p = plan;
    const Squares *q = &p->squares;
    int channels = p->work.shape.channels, depth = equal_part(channels, DEPTH);
    float *staged = image->memory, *v = staged + grid_size(&p->grid), *sums = v + PLACES * q->plane;
    stage(&p->work, image, X, &p->grid, staged);
    for (int first = 0; first < q->all; first += q->part) {
        int count = least(q->part, q->all - first);
        see_squares(q, &p->grid, staged, first, count, v);
        for (int tile = 0; tile < p->tiles; tile++) {
            int width = least(WIDE, p->g_grid.depth - tile * WIDE);
            for (int place = 0; place < PLACES; place++) {
                const float *b = p->weights + (size_t)channels * (tile * PLACES * WIDE + place * width);
                float *of_place = sums + place * q->out_plane;
                for (int k = 0; k < channels; k += depth)
                    for (int m = 0; m < count; m += ROWS)
                        multiply(width, k == 0, v + place * q->plane, p->m_at + m, p->k_at + k,
                                 least(depth, channels - k), b + (size_t)k * width, width,
                                 of_place + (size_t)m * width, &image->next);
            }
            put_squares(p, sums, first, count, width, tile * WIDE, image->y);
        }
    }
}

/* As `run_convolution`, of the kernels that it suits. */
static int run_squares(const Work *asked) {
    Plan p = plan_squares(asked);
    Squares *q = &p.squares;
    int channels = asked->shape.channels;
    q->out_plane = plane(q->part, WIDE);
    if (!allocate(&p, (size_t)PLACES * channels, filled(q->part), channels)) return NO_MEMORY;
    for (int i = 0; i < filled(q->part); i++) p.m_at[i] = (size_t)least(i, q->part - 1) * p.grid.depth;
    for (int c = 0; c < channels; c++) p.k_at[c] = c;
    p.work.memory = p.work.zeroed + PLACES * (q->plane + q->out_plane);
    p.work.pieces_before = p.tiles, p.work.prepare = turn_weights, p.work.compute = convolve_squares;
    return run(&p.work);
}

/* g [rows][columns][depth] of output pixels as t[place][square][depth]. */
static void spread_squares(const Squares *q, const float *g, int depth, int first, int count, float *t) {
    size_t row = (size_t)2 * q->columns * depth, plane = q->out_plane;
    for (int i = 0; i < count; i++) {
        int y = (first + i) / q->columns * 2, x = (first + i) % q->columns * 2;
        for (int c = 0; c < depth; c += LANES) {
            const float *from = g + y * row + (size_t)x * depth + c;
            float *to = t + (size_t)i * depth + c;
            vector pixels[2][2], values[4][4];
            for (int j = 0; j < 4; j++) pixels[j / 2][j % 2] = load(from + j / 2 * row + j % 2 * depth);
            spread(pixels, values);
            for (int place = 0; place < PLACES; place++) store(to + place * plane, values[place / 4][place % 4]);
        }
    }
}

static void add_squares(const void *plan, Image *image) {
    const Plan *p = plan;
    const Squares *q = &p->squares;
    int channels = p->work.shape.channels, g_depth = p->g_grid.depth;
    float *staged = image->memory, *g_staged = staged + grid_size(&p->grid), *v = g_staged + grid_size(&p->g_grid);
    float *t = v + PLACES * q->plane;
    stage(&p->work, image, X, &p->grid, staged);
    stage(&p->work, image, G, &p->g_grid, g_staged);
    for (int first = 0; first < q->all; first += q->part) {
        int count = least(q->part, q->all - first);
        see_squares(q, &p->grid, staged, first, count, v);
        spread_squares(q, g_staged, g_depth, first, count, t);
        for (int place = 0; place < PLACES; place++)
            for (int tile = 0; tile < p->tiles; tile++) {
                int width = least(WIDE, g_depth - tile * WIDE);
                float *u = image->sums + place * q->sums_plane + (size_t)tile * WIDE * filled(channels);
                for (int m = 0; m < channels; m += ROWS)
                    multiply(width, 0, v + place * q->plane, p->m_at + m, p->k_at, count,
                             t + place * q->out_plane + tile * WIDE, g_depth, u + (size_t)m * width, &image->next);
            }
    }
}

/* The threads' sums of LANES read and LANES written channels as the weights' gradient: G' u G. */
static void put_turned(const void *plan, int piece, const float *sums, size_t next, int team) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const Weights *w = &p->work.w;
    size_t plane = p->squares.sums_plane;
    int blocks = p->g_grid.depth / LANES, c = piece / blocks * LANES, o = piece % blocks * LANES;
    int tile = o / WIDE * WIDE, width = least(WIDE, p->g_grid.depth - tile);
    vector result[9][LANES] = {{{0}}};
    for (int k = 0; k < least(LANES, s->channels - c); k++) {
        const float *from = sums + (size_t)tile * filled(s->channels) + (size_t)(c + k) * width + o % WIDE;
        vector u[4][4], taps[9];
        for (int place = 0; place < PLACES; place++) {
            vector sum = load(from + place * plane);
            for (int thread = 1; thread < team; thread++) sum += load(from + place * plane + thread * next);
            u[place / 4][place % 4] = sum;
        }
        turn_back(u, taps);
        for (int tap = 0; tap < 9; tap++) result[tap][k] = taps[tap];
    }
    for (int tap = 0; tap < 9; tap++) {
        float *to = p->work.gradient + tap_at(w, 3, tap) + c * w->read + o * w->written;
        put_weights(result[tap], w, s->channels - c, s->out_channels - o, to);
    }
}

/* As `run_gradient`, of the kernels that it suits. */
static int run_squares_gradient(const Work *asked) {
    Plan p = plan_squares(asked);
    Squares *q = &p.squares;
    int channels = asked->shape.channels;
    q->out_plane = plane(q->part, p.g_grid.depth), q->sums_plane = plane(channels, p.g_grid.depth);
    if (!allocate(&p, 0, filled(channels), q->part)) return NO_MEMORY;
    for (int c = 0; c < filled(channels); c++) p.m_at[c] = least(c, channels - 1);
    for (int i = 0; i < q->part; i++) p.k_at[i] = (size_t)i * p.grid.depth;
    p.work.memory = p.work.zeroed + PLACES * (q->plane + q->out_plane), p.work.sums = PLACES * q->sums_plane;
    p.work.pieces_after = p.grid.depth / LANES * (p.g_grid.depth / LANES);
    p.work.compute = add_squares, p.work.finish = put_turned;
    return run(&p.work);
}
