/* Convolutions with kernels of 3 x 3 and a stride of 1 by Winograd's minimal filtering, F(2 x 2, 3 x 3) (Lavin and Gray
 * 2016): of each square of 2 x 2 output pixels, 16 products instead of 36.
 *
 * The 4 x 4 pixels d that a square sees become v = B' d B, a kernel w becomes u = G w G', and what comes out is
 * A' (v * u) A, where the products of all squares and channels are 16 products of matrices. The weights' gradient is
 * the same read backwards: G' (v * (A g A')) G. Rounding errors are of the size of the plain sums'; but what is not a
 * number, or infinite, makes all of the squares so that see it.
 */

enum {
    SQUARES = 60, /* at a time */
    PLACES = 16,  /* in a square's 4 x 4 pixels */
};

static int is_winograd(const Shape *s) {
    return s->kernel == 3 && s->stride == 1 && s->channels >= LANES && s->out_channels >= LANES;
}

typedef struct {
    int rows, columns, squares, part;   /* squares in a column and in a row, and how many are computed at a time */
    int depth, grid_rows, grid_columns; /* of the staged image */
    size_t plane;                       /* one place's values of a part's squares; never a multiple of a cache's size */
} Squares;

static size_t plane(int squares, int depth) { return ((size_t)filled(squares) * depth) | LANES; }

static Squares squares(const Shape *s) {
    Squares q = {.rows = (s->out_height + 1) / 2, .columns = (s->out_width + 1) / 2};
    q.squares = q.rows * q.columns;
    q.part = equal_part(q.squares, SQUARES);
    q.depth = (int)up(s->channels, LANES);
    q.grid_rows = most(2 * q.rows + 2, s->padding + s->height);
    q.grid_columns = most(2 * q.columns + 2, s->padding + s->width);
    q.plane = plane(q.part, q.depth);
    return q;
}

/* v[place][square][depth] of the squares from `first` on. */
static void see(const Squares *q, const float *staged, int first, int count, float *v) {
    size_t row = (size_t)q->grid_columns * q->depth;
    for (int i = 0; i < count; i++) {
        int y = (first + i) / q->columns * 2, x = (first + i) % q->columns * 2;
        for (int c = 0; c < q->depth; c += LANES) {
            const float *from = staged + y * row + (size_t)x * q->depth + c;
            float *to = v + (size_t)i * q->depth + c;
            vector t[4][4];
            for (int j = 0; j < 4; j++) {
                vector d0 = load(from + j * q->depth), d1 = load(from + row + j * q->depth);
                vector d2 = load(from + 2 * row + j * q->depth), d3 = load(from + 3 * row + j * q->depth);
                t[0][j] = d0 - d2, t[1][j] = d1 + d2, t[2][j] = d2 - d1, t[3][j] = d1 - d3;
            }
            for (int j = 0; j < 4; j++, to += 4 * q->plane) {
                store(to, t[j][0] - t[j][2]);
                store(to + q->plane, t[j][1] + t[j][2]);
                store(to + 2 * q->plane, t[j][2] - t[j][1]);
                store(to + 3 * q->plane, t[j][1] - t[j][3]);
            }
        }
    }
}

/* u[place][channels][width] of the written channels of a tile. */
static void turn_weights(const Shape *s, const float *weights, const Weights *w, int tile, float *u) {
    int count = least(WIDE, s->out_channels - tile * WIDE), width = (int)up(count, LANES);
    size_t place = (size_t)s->channels * width;
    const float *first = weights + tile * WIDE * w->written;
    for (int c = 0; c < s->channels; c++, u += width) {
        float g[9][WIDE] = {{0}};
        for (int tap = 0; tap < 9; tap++) {
            const float *from = at_tap(first, w, 3, tap) + c * w->read;
            for (int n = 0; n < count; n++) g[tap][n] = from[n * w->written];
        }
        for (int n = 0; n < width; n += LANES) {
            vector t[4][3];
            for (int j = 0; j < 3; j++) {
                vector above = load(g[j] + n), here = load(g[3 + j] + n), below = load(g[6 + j] + n);
                t[0][j] = above, t[3][j] = below;
                t[1][j] = (above + here + below) / 2, t[2][j] = (above - here + below) / 2;
            }
            float *to = u + n;
            for (int i = 0; i < 4; i++, to += 4 * place) {
                store(to, t[i][0]);
                store(to + place, (t[i][0] + t[i][1] + t[i][2]) / 2);
                store(to + 2 * place, (t[i][0] - t[i][1] + t[i][2]) / 2);
                store(to + 3 * place, t[i][2]);
            }
        }
    }
}

/* sums [place][square][width] as what the layer returns. */
static void put_squares(const Squares *q, const Shape *s, const float *sums, size_t sums_plane, int first, int squares,
                        int width, const float *bias, int relu, int channel, float *y) {
    int row_size = s->out_width * s->out_channels;
    for (int i = 0; i < squares; i++) {
        int row = (first + i) / q->columns * 2, column = (first + i) % q->columns * 2;
        float *to = y + (size_t)row * row_size + (size_t)column * s->out_channels + channel;
        for (int n = 0; n < width; n += LANES) {
            const float *from = sums + (size_t)i * width + n;
            vector t[2][4];
            for (int j = 0; j < 4; j++, from += sums_plane) {
                vector m0 = load(from), m1 = load(from + 4 * sums_plane), m2 = load(from + 8 * sums_plane);
                vector m3 = load(from + 12 * sums_plane);
                t[0][j] = m0 + m1 + m2, t[1][j] = m1 - m2 - m3;
            }
            int count = least(LANES, s->out_channels - channel - n);
            for (int j = 0; j < 4; j++) {
                if (row + j / 2 >= s->out_height || column + j % 2 >= s->out_width) continue;
                const vector *r = t[j / 2];
                vector value = (j % 2 ? r[1] - r[2] - r[3] : r[0] + r[1] + r[2]) + load(bias + channel + n);
                if (relu) value = rectified(value);
                float *at = to + j / 2 * row_size + j % 2 * s->out_channels + n;
                store_first(count, at, value);
            }
        }
    }
}

/* As `convolve`, of the kernels that it suits. */
static int winograd_convolve(const float *x, const float *mask, const float *weights, const Weights *w,
                             const float *bias, float *y, const Shape *s, int relu, int threads) {
    Squares q = squares(s);
    int tiles = (int)up(s->out_channels, WIDE) / WIDE;
    size_t u_tile = (size_t)PLACES * s->channels * WIDE, sums_plane = plane(q.part, WIDE);
    size_t staged_size = (size_t)q.grid_rows * q.grid_columns * q.depth;
    size_t own_size = staged_size + PLACES * (q.plane + sums_plane);
    size_t image_size = (size_t)s->height * s->width * s->channels;
    size_t *m_at = malloc(filled(q.part) * sizeof(size_t)), *k_at = malloc(s->channels * sizeof(size_t));
    float *u = aligned_alloc(64, up(tiles * u_tile * sizeof(float), 64));
    float *biases = calloc(up(s->out_channels, LANES), sizeof(float));
    int failed = !m_at || !k_at || !u || !biases;
    if (!failed) {
        if (bias) memcpy(biases, bias, s->out_channels * sizeof(float));
        for (int i = 0; i < filled(q.part); i++) m_at[i] = (size_t)least(i, q.part - 1) * q.depth;
        for (int c = 0; c < s->channels; c++) k_at[c] = c;
    }
#pragma omp parallel num_threads(threads) reduction(| : failed) if (!failed)
    {
        float *staged = scratch(own_size * sizeof(float)), *v = staged + staged_size, *sums = v + PLACES * q.plane;
        failed |= !staged || !m_at || !k_at || !u || !biases;
#pragma omp for schedule(static)
        for (int tile = 0; tile < tiles; tile++)
            if (!failed) turn_weights(s, weights, w, tile, u + tile * u_tile);
        if (!failed) memset(staged, 0, staged_size * sizeof(float));
#pragma omp for schedule(static)
        for (int image = 0; image < s->batch; image++) {
            if (failed) continue;
            const float *xi = x + image * image_size, *xm = mask ? mask + image * image_size : NULL;
            float *to = y + (size_t)image * s->out_height * s->out_width * s->out_channels;
            Ahead next = image + 1 < s->batch ? ahead(xi, xm, image_size, NULL, NULL, 0) : nothing;
            stage(xi, xm, s->height, s->width, s->channels, q.grid_rows, q.grid_columns, s->padding, s->padding,
                  q.depth, staged, NULL);
            for (int first = 0; first < q.squares; first += q.part) {
                int count = least(q.part, q.squares - first), depth = equal_part(s->channels, DEPTH);
                see(&q, staged, first, count, v);
                for (int tile = 0; tile < tiles; tile++) {
                    int width = least(WIDE, (int)up(s->out_channels - tile * WIDE, LANES));
                    for (int place = 0; place < PLACES; place++) {
                        const float *b = u + tile * u_tile + (size_t)place * s->channels * width;
                        float *of_place = sums + place * sums_plane;
                        for (int k = 0; k < s->channels; k += depth)
                            for (int m = 0; m < count; m += ROWS)
                                multiply(width, k == 0, v + place * q.plane, m_at + m, k_at + k,
                                         least(depth, s->channels - k), b + (size_t)k * width, width,
                                         of_place + (size_t)m * width, &next);
                    }
                    put_squares(&q, s, sums, sums_plane, first, count, width, biases, relu, tile * WIDE, to);
                }
            }
        }
    }
    free(m_at), free(k_at), free(u), free(biases);
    return failed ? NO_MEMORY : DONE;
}

/* g [rows][columns][depth] of output pixels as t[place][square][depth]: A g A'. */
static void spread(const Squares *q, const float *g, int depth, int first, int count, size_t t_plane, float *t) {
    size_t row = (size_t)2 * q->columns * depth;
    for (int i = 0; i < count; i++) {
        int y = (first + i) / q->columns * 2, x = (first + i) % q->columns * 2;
        for (int c = 0; c < depth; c += LANES) {
            const float *from = g + y * row + (size_t)x * depth + c;
            float *to = t + (size_t)i * depth + c;
            vector r[4][2];
            for (int j = 0; j < 2; j++) {
                vector above = load(from + j * depth), below = load(from + row + j * depth);
                r[0][j] = above, r[1][j] = above + below, r[2][j] = above - below, r[3][j] = -below;
            }
            for (int j = 0; j < 4; j++, to += 4 * t_plane) {
                store(to, r[j][0]);
                store(to + t_plane, r[j][0] + r[j][1]);
                store(to + 2 * t_plane, r[j][0] - r[j][1]);
                store(to + 3 * t_plane, -r[j][1]);
            }
        }
    }
}

/* The threads' sums of one read channel and so many written ones as the weights' gradient: G' u G. */
static void put_gradient(const float *sums, size_t plane, size_t next, int threads, float *result, const Weights *w,
                         int read, int written, int count) {
    vector r[3][4];
    for (int j = 0; j < 4; j++, sums += plane) {
        vector u[4] = {{0}};
        for (int thread = 0; thread < threads; thread++)
            for (int i = 0; i < 4; i++) u[i] += load(sums + thread * next + 4 * i * plane);
        vector half = (u[1] + u[2]) / 2;
        r[0][j] = u[0] + half, r[1][j] = (u[1] - u[2]) / 2, r[2][j] = half + u[3];
    }
    for (int i = 0; i < 3; i++) {
        vector half = (r[i][1] + r[i][2]) / 2, row[] = {r[i][0] + half, (r[i][1] - r[i][2]) / 2, half + r[i][3]};
        for (int j = 0; j < 3; j++) {
            float *to = (float *)at_tap(result, w, 3, 3 * i + j) + read * w->read + written * w->written;
            for (int n = 0; n < count; n++) to[n * w->written] = row[j][n];
        }
    }
}

/* As `gradient`, of the kernels that it suits. */
static int winograd_gradient(const float *x, const float *x_mask, const float *g, const float *g_mask, float *result,
                             const Weights *w, float *x_sums, float *g_sums, const Shape *s, int threads) {
    Squares q = squares(s);
    int g_depth = (int)up(s->out_channels, LANES), tiles = (int)up(s->out_channels, WIDE) / WIDE;
    size_t x_image = (size_t)s->height * s->width * s->channels;
    size_t g_image = (size_t)s->out_height * s->out_width * s->out_channels;
    size_t x_size = (size_t)q.grid_rows * q.grid_columns * q.depth, g_size = (size_t)4 * q.squares * g_depth;
    size_t t_plane = plane(q.part, g_depth), own_size = x_size + g_size + PLACES * (q.plane + t_plane);
    size_t u_plane = plane(s->channels, g_depth), x_line = (size_t)s->width * q.depth;
    size_t all_sums = PLACES * u_plane + x_line + (size_t)s->out_width * g_depth;
    size_t *m_at = malloc(filled(s->channels) * sizeof(size_t)), *k_at = malloc(q.part * sizeof(size_t));
    float *sums = aligned_alloc(64, up(all_sums * threads * sizeof(float), 64));
    int failed = !m_at || !k_at || !sums, team = 1;
    if (!failed) {
        for (int c = 0; c < filled(s->channels); c++) m_at[c] = least(c, s->channels - 1);
        for (int i = 0; i < q.part; i++) k_at[i] = (size_t)i * q.depth;
    }
#pragma omp parallel num_threads(threads) reduction(| : failed) if (!failed)
    {
        int thread = omp_get_thread_num();
        float *staged = scratch(own_size * sizeof(float)), *g_staged = staged + x_size, *v = g_staged + g_size;
        float *t = v + PLACES * q.plane;
        failed |= !staged || !m_at || !k_at || !sums;
#pragma omp single
        team = omp_get_num_threads();
        if (!failed) {
            float *own = sums + thread * all_sums;
            float *x_own = x_sums ? own + PLACES * u_plane : NULL;
            float *g_own = g_sums ? own + PLACES * u_plane + x_line : NULL;
            memset(own, 0, all_sums * sizeof(float));
            memset(staged, 0, (x_size + g_size) * sizeof(float));
            int part = (s->batch + team - 1) / team, last = least((thread + 1) * part, s->batch);
            for (int image = thread * part; image < last; image++) {
                const float *xi = x + image * x_image, *xm = x_mask ? x_mask + image * x_image : NULL;
                const float *gi = g + image * g_image, *gm = g_mask ? g_mask + image * g_image : NULL;
                Ahead next = image + 1 < last ? ahead(xi, xm, x_image, gi, gm, g_image) : nothing;
                stage(xi, xm, s->height, s->width, s->channels, q.grid_rows, q.grid_columns, s->padding, s->padding,
                      q.depth, staged, x_own);
                stage(gi, gm, s->out_height, s->out_width, s->out_channels, 2 * q.rows, 2 * q.columns, 0, 0, g_depth,
                      g_staged, g_own);
                for (int first = 0; first < q.squares; first += q.part) {
                    int count = least(q.part, q.squares - first);
                    see(&q, staged, first, count, v);
                    spread(&q, g_staged, g_depth, first, count, t_plane, t);
                    for (int place = 0; place < PLACES; place++)
                        for (int tile = 0; tile < tiles; tile++) {
                            int width = least(WIDE, g_depth - tile * WIDE);
                            float *u = own + place * u_plane + (size_t)tile * WIDE * filled(s->channels);
                            for (int m = 0; m < s->channels; m += ROWS)
                                multiply(width, 0, v + place * q.plane, m_at + m, k_at, count,
                                         t + place * t_plane + tile * WIDE, g_depth, u + (size_t)m * width, &next);
                        }
                }
            }
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int c = 0; c < s->channels; c++)
            for (int o = 0; o < s->out_channels && !failed; o += LANES) {
                int tile = o / WIDE, width = least(WIDE, g_depth - tile * WIDE);
                const float *from = sums + (size_t)tile * WIDE * filled(s->channels) + (size_t)c * width + o % WIDE;
                put_gradient(from, u_plane, all_sums, team, result, w, c, o, least(LANES, s->out_channels - o));
            }
    }
    if (!failed) {
        const float *lines = sums + PLACES * u_plane;
        if (x_sums) fold(lines, team, all_sums, s->width, q.depth, s->channels, x_sums);
        if (g_sums) fold(lines + x_line, team, all_sums, s->out_width, g_depth, s->out_channels, g_sums);
    }
    free(m_at), free(k_at), free(sums);
    return failed ? NO_MEMORY : DONE;
}
