/* Convolutions in bfloat16 by Winograd's minimal filtering, of the kernels that it suits, where products are what
 * takes the time. What a square sees, and the kernels turned, are rounded to bfloat16 once more: of outputs and of x's
 * gradient, the relative error is some .004 where plain sums have .0023; of the weights' gradient, .004 where they have
 * next to none, and where a format of bfloat16 for it would have .002.
 */
#include "winograd.h"

enum {
    MOST_STEPS = 4,                  /* that are computed at a time in the weights' gradient */
    BLOCK = 4 * SUMS,                /* sums of 32 by 32 channels at a place, in the weights' gradient */
    SQUARE_SUMS = 2 * SUMS + SIDE,   /* of up to 16 squares by 32 channels, and to the next place: in a cache, what lies
                                        a multiple of 4 KiB apart drives itself out */
};

/* Squares of pixels in an image, and how they are computed. */
typedef struct {
    Work work;
    int rows, columns, all, part; /* in a column, in a row, in all; in a tile or, of the gradient, in a step */
    int steps, x_tiles, g_tiles;  /* of the gradient: at a time; of the channels of each */
    Grid grid, g_grid;
    bf16 *packed;
    float *biases;
} Squares;

static Squares squares_of(const Work *asked) {
    const Shape *s = &asked->shape;
    Tiling t = tiled(s);
    Squares q = {.work = *asked, .rows = t.rows, .columns = t.columns, .all = t.all};
    q.x_tiles = (int)up(s->channels, SIDE) / SIDE, q.g_tiles = (int)up(s->out_channels, SIDE) / SIDE;
    int depth = (int)up(s->channels, DEPTH), g_depth = (int)up(s->out_channels, DEPTH);
    q.grid = (Grid){1, t.x_rows, t.x_columns, depth, s->padding, s->padding, (size_t)t.x_rows * t.x_columns * depth};
    q.g_grid = (Grid){1, 2 * q.rows, 2 * q.columns, g_depth, 0, 0, (size_t)4 * q.all * g_depth};
    return q;
}

/* 16 values. */
static inline vector widened(const bf16 *from) {
    return (vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
}

/* What a square (of the last one on, that one) sees of 16 channels. */
static inline __attribute__((always_inline)) void see_square(const Squares *q, const bf16 *staged, int square,
                                                             vector seen[4][4]) {
    const Grid *g = &q->grid;
    square = least(square, q->all - 1);
    const bf16 *from = staged + ((size_t)(square / q->columns * 2) * g->columns + square % q->columns * 2) * g->depth;
    vector d[4][4];
    for (int place = 0; place < PLACES; place++)
        d[place / 4][place % 4] = widened(from + ((size_t)(place / 4) * g->columns + place % 4) * g->depth);
    see(d, seen);
}

/* ---- convolution ---- */

/* Tiles [place][32 read ones] of 16 written channels. */
static void turn_weights(const void *plan, int tile) {
    const Squares *q = plan;
    const Shape *s = &q->work.shape;
    const Weights *w = &q->work.w;
    int k_tiles = q->grid.depth / DEPTH, count = least(SIDE, s->out_channels - tile * SIDE);
    const float *first = q->work.weights + tile * SIDE * w->written;
    bf16 *to = q->packed + (size_t)tile * PLACES * k_tiles * TILE;
    for (int k = 0; k < k_tiles; k++) {
        int c = k * DEPTH, n_read = least(DEPTH, s->channels - c);
        float turned[PLACES][TILE];
        turn_kernels(first + c * w->read, w, n_read, count, turned[0], TILE);
        for (int place = 0; place < PLACES; place++)
            pack_tile(turned[place], SIDE, 1, n_read, count, to + ((size_t)place * k_tiles + k) * TILE);
    }
}

/* v [place][square][depth] of a tile of squares. */
static void see_squares(const Squares *q, const bf16 *staged, int first, bf16 *v) {
    int depth = q->grid.depth;
    size_t next_place = (size_t)q->part * depth;
    for (int i = 0; i < q->part; i++, v += depth)
        for (int c = 0; c < depth; c += SIDE) {
            vector seen[4][4];
            see_square(q, staged + c, first + i, seen);
            for (int place = 0; place < PLACES; place++)
                _mm256_storeu_si256((__m256i *)(v + place * next_place + c),
                                    (__m256i)_mm512_cvtneps_pbh((__m512)seen[place / 4][place % 4]));
        }
}

/* Sums [place][channels / 16][square][16], SQUARE_SUMS from place to place, as what the layer returns. */
static void put_squares(const Squares *q, const float *sums, int first, int channel, bf16 *y) {
    const Shape *s = &q->work.shape;
    const vector least_value = (vector)_mm512_set1_ps(q->work.relu ? 0 : -__builtin_inff());
    for (int i = 0; i < least(q->part, q->all - first); i++) {
        int row = (first + i) / q->columns * 2, column = (first + i) % q->columns * 2;
        const float *of_square = sums + i * SIDE;
        for (int n = channel; n < least(channel + DEPTH, s->out_channels); n += SIDE, of_square += SUMS) {
            vector m[4][4], left[2][2], bias = load(q->biases + n);
            for (int place = 0; place < PLACES; place++)
                m[place / 4][place % 4] = load(of_square + place * SQUARE_SUMS);
            leave(m, left);
            for (int j = 0; j < 4; j++) {
                int u = row + j / 2, v = column + j % 2;
                if (u >= s->out_height || v >= s->out_width) continue;
                __m512 value = _mm512_max_ps((__m512)least_value, (__m512)(left[j / 2][j % 2] + bias));
                _mm256_mask_storeu_epi16(y + ((size_t)u * s->out_width + v) * s->out_channels + n,
                                         first16(s->out_channels - n), (__m256i)_mm512_cvtneps_pbh(value));
            }
        }
    }
}

static void convolve_squares(const void *plan, Image *image) {
    const Squares *q = plan;
    const Shape *s = &q->work.shape;
    int depth = q->grid.depth, k_tiles = depth / DEPTH;
    size_t of_tile = (size_t)PLACES * k_tiles * TILE;
    bf16 *staged = image->memory, *v = staged + q->grid.plane;
    float *sums = (float *)(v + (size_t)PLACES * q->part * depth);
    stage(image->read[X], image->read[X_MASK], s->height, s->width, s->channels, &q->grid, staged, NULL);
    divide(&image->next, (q->all + q->part - 1) / q->part);
    Product product = {.rows = q->part, .pairs = pairs_of(s->channels), .n_runs = 1, .steps = k_tiles,
                       .a_pitch = depth, .a_step = DEPTH, .runs = &(Run){0, 0}};
    for (int first = 0; first < q->all; first += q->part) {
        fetch(&image->next);
        see_squares(q, staged, first, v);
        for (int channel = 0; channel < s->out_channels; channel += DEPTH) {
            for (int place = 0; place < PLACES; place++) {
                const bf16 *b = q->packed + channel / SIDE * of_tile + (size_t)place * k_tiles * TILE;
                product.a[0] = v + (size_t)place * q->part * depth, product.b[0] = b, product.b[1] = b + of_tile;
                multiply_some(&product, 1, q->part, s->out_channels - channel, sums + place * SQUARE_SUMS);
            }
            put_squares(q, sums, first, channel, image->y);
        }
    }
}

/* As `run_convolution`, of the kernels that it suits. */
static int run_squares(const Work *asked) {
    Squares q = squares_of(asked);
    q.part = equal_part(q.all, MOST_ROWS);
    size_t packed = (size_t)q.g_tiles * PLACES * (q.grid.depth / DEPTH) * TILE;
    int biases = q.g_tiles * SIDE;
    q.work.tables = q.packed = aligned_alloc(64, packed * sizeof(bf16) + biases * sizeof(float));
    if (!q.packed) return NO_MEMORY;
    q.biases = (float *)(q.packed + packed);
    copy_biases(asked, biases, q.biases);
    q.work.zeroed = q.grid.plane;
    q.work.memory = q.work.zeroed + (size_t)PLACES * q.part * q.grid.depth + PLACES * SQUARE_SUMS * 2;
    q.work.pieces_before = q.g_tiles, q.work.prepare = turn_weights, q.work.compute = convolve_squares;
    return run(&q.work);
}

/* ---- the weights' gradient ---- */

/* Tiles [channels / 16][step] at a place. */
static size_t place_size(const Squares *q, int tiles) { return (size_t)tiles * q->steps * TILE + DEPTH; }

/* Of two squares and 16 channels, at each place, as a row of pairs of a tile; these lie so far apart. */
static inline __attribute__((always_inline)) void put_pair(const vector first[4][4], const vector second[4][4],
                                                           size_t next_place, bf16 *to) {
    __m512i order = _mm512_loadu_si512(in_pairs);
    for (int place = 0; place < PLACES; place++) {
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second[place / 4][place % 4],
                                                    (__m512)first[place / 4][place % 4]);
        _mm512_store_si512(to + place * next_place, _mm512_permutexvar_epi16(order, both));
    }
}

/* What so many steps of squares from `first` on see, as B: tiles [place][channels / 16][step]. */
static void see_pairs(const Squares *q, const bf16 *staged, int first, bf16 *to) {
    for (int tile = 0; tile < q->x_tiles; tile++)
        for (int step = 0; step < q->steps; step++, to += TILE)
            for (int i = 0; i < q->part; i += 2) {
                int square = first + step * q->part + i;
                vector seen[2][4][4];
                see_square(q, staged + tile * SIDE, square, seen[0]);
                see_square(q, staged + tile * SIDE, square + 1, seen[1]);
                put_pair(seen[0], seen[1], place_size(q, q->x_tiles), to + i * SIDE);
            }
}

/* The gradients of their pixels, spread, as A, likewise; of what is beyond the last square, zeros. */
static void spread_pairs(const Squares *q, const bf16 *g_staged, int first, bf16 *to) {
    const Grid *g = &q->g_grid;
    size_t next_place = place_size(q, q->g_tiles);
    for (int tile = 0; tile < q->g_tiles; tile++)
        for (int step = 0; step < q->steps; step++, to += TILE) {
            for (int i = 0; i < q->part; i += 2) {
                vector values[2][4][4];
                for (int j = 0; j < 2; j++) {
                    int square = first + step * q->part + i + j;
                    size_t pixel = (size_t)(square / q->columns * 2) * g->columns + square % q->columns * 2;
                    const bf16 *from = g_staged + pixel * g->depth + tile * SIDE;
                    vector pixels[2][2] = {{{0}}};
                    for (int k = 0; k < 4 && square < q->all; k++)
                        pixels[k / 2][k % 2] = widened(from + ((size_t)(k / 2) * g->columns + k % 2) * g->depth);
                    spread(pixels, values[j]);
                }
                put_pair(values[0], values[1], next_place, to + i * SIDE);
            }
            for (int place = 0; place < PLACES; place++) {
                __m512i r[SIDE];
                bf16 *rows = to + place * next_place;
                for (int i = 0; i < SIDE; i++)
                    r[i] = i < q->part / 2 ? _mm512_load_si512(rows + i * DEPTH) : _mm512_setzero_si512();
                transpose_words(r);
                for (int i = 0; i < SIDE; i++) _mm512_store_si512(rows + i * DEPTH, r[i]);
            }
        }
}

static void add_squares(const void *plan, Image *image) {
    const Squares *q = plan;
    const Shape *s = &q->work.shape;
    size_t of_tile = (size_t)q->steps * TILE, x_place = place_size(q, q->x_tiles), g_place = place_size(q, q->g_tiles);
    bf16 *staged = image->memory, *g_staged = staged + q->grid.plane, *seen = g_staged + q->g_grid.plane;
    bf16 *given = seen + PLACES * x_place;
    stage(image->read[X], image->read[X_MASK], s->height, s->width, s->channels, &q->grid, staged, image->x_sums);
    stage(image->read[G], image->read[G_MASK], s->out_height, s->out_width, s->out_channels, &q->g_grid, g_staged,
          image->g_sums);
    divide(&image->next, (q->all + q->steps * q->part - 1) / (q->steps * q->part) * PLACES);
    Product product = {.rows = SIDE, .pairs = q->part / 2, .n_runs = 1, .steps = q->steps, .a_pitch = DEPTH,
                       .a_step = TILE, .runs = &(Run){0, 0}};
    for (int first = 0; first < q->all; first += q->steps * q->part) {
        see_pairs(q, staged, first, seen);
        spread_pairs(q, g_staged, first, given);
        float *to = image->sums;
        for (int place = 0; place < PLACES; place++) {
            fetch(&image->next);
            for (int o = 0; o < s->out_channels; o += DEPTH)
                for (int c = 0; c < s->channels; c += DEPTH, to += BLOCK) {
                    const bf16 *a = given + place * g_place + o / SIDE * of_tile;
                    const bf16 *b = seen + place * x_place + c / SIDE * of_tile;
                    product.a[0] = a, product.a[1] = a + of_tile, product.b[0] = b, product.b[1] = b + of_tile;
                    multiply_some(&product, 0, s->out_channels - o, s->channels - c, to);
                }
        }
    }
}

/* The threads' sums for one channel of g. */
static void put_turned(const void *plan, int o, const float *sums, size_t next, int team) {
    const Squares *q = plan;
    const Shape *s = &q->work.shape;
    int x_blocks = q->grid.depth / DEPTH, blocks = q->g_grid.depth / DEPTH * x_blocks;
    float *to = q->work.gradient + o * q->work.w.written;
    for (int c = 0; c < s->channels; c += SIDE) {
        const float *from = sums + (size_t)(o / DEPTH * x_blocks + c / DEPTH) * BLOCK + o % DEPTH / SIDE * 2 * SUMS;
        from += c % DEPTH / SIDE * SUMS + o % SIDE * SIDE;
        vector u[4][4], taps[9];
        for (int place = 0; place < PLACES; place++, from += (size_t)blocks * BLOCK) {
            vector sum = load(from);
            for (int thread = 1; thread < team; thread++) sum += load(from + thread * next);
            u[place / 4][place % 4] = sum;
        }
        turn_back(u, taps);
        for (int tap = 0; tap < 9; tap++)
            put_row((__m512)taps[tap], to, &q->work.w, s, 0, tap, c, least(SIDE, s->channels - c));
    }
}

/* As `run_gradient`, of the kernels that it suits. */
static int run_squares_gradient(const Work *asked) {
    Squares q = squares_of(asked);
    Work *work = &q.work;
    q.part = (int)up(equal_part(q.all, DEPTH), 2), q.steps = least((q.all + q.part - 1) / q.part, MOST_STEPS);
    work->zeroed = q.grid.plane + q.g_grid.plane;
    work->memory = work->zeroed + PLACES * (place_size(&q, q.x_tiles) + place_size(&q, q.g_tiles));
    work->sums = (size_t)PLACES * (q.g_grid.depth / DEPTH) * (q.grid.depth / DEPTH) * BLOCK;
    work->x_line.width = work->g_line.width = 1, work->x_line.depth = q.grid.depth, work->g_line.depth = q.g_grid.depth;
    work->compute = add_squares, work->pieces_after = asked->shape.out_channels, work->finish = put_turned;
    return run(work);
}
