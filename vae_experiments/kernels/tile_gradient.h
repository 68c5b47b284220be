/* The weights' gradient in bfloat16: A is 16 channels of the one image by 32 pixels, B these pixels, shifted by a tap,
 * by 16 channels of the other.
 */

typedef struct {
    Work work;
    int as_patches, kernel, step, parities; /* 2 where pixels are paired anew for odd shifts */
    int pixels, pairs, x_values, g_tiles;   /* of g; of a plane of x; in a pixel of x; of the channels of g */
    Grid grid, g_grid;
} Gradient;

static void add_gradient(const void *plan, Image *image) {
    const Gradient *p = plan;
    const Shape *s = &p->work.shape;
    int taps = p->kernel * p->kernel, planes = p->step * p->step, depth = p->grid.depth, g_depth = p->g_grid.depth;
    int g_twos = g_depth / DEPTH, x_twos = depth / DEPTH;
    size_t x_tile = (size_t)p->pairs * DEPTH, x_plane = 2 * x_twos * x_tile, g_tile = (size_t)p->pixels * SIDE;
    bf16 *staged = image->memory, *g_staged = staged + planes * p->grid.plane;
    bf16 *border = g_staged + p->g_grid.plane, *x_tiles = staged + p->work.zeroed;
    bf16 *g_turned = x_tiles + p->parities * planes * x_plane;
    const bf16 *x = image->read[X], *x_mask = image->read[X_MASK];
    if (p->as_patches) write_patches(x, x_mask, s, border, staged, image->x_sums);
    else stage(x, x_mask, s->height, s->width, s->channels, &p->grid, staged, image->x_sums);
    stage(image->read[G], image->read[G_MASK], s->out_height, s->out_width, s->out_channels, &p->g_grid, g_staged,
          image->g_sums);
    for (int plane = 0; plane < planes; plane++) {
        bf16 *even = x_tiles + plane * x_plane;
        bf16 *odd = plane % p->step + p->step < p->kernel ? even + planes * x_plane : NULL;
        couple(staged + plane * p->grid.plane, p->pairs, depth, even, odd);
    }
    turn(g_staged, p->pixels, g_depth, p->g_tiles, g_turned);

    Product product = {.rows = SIDE, .pairs = SIDE, .n_runs = 1, .steps = p->pixels / DEPTH, .a_pitch = DEPTH,
                       .a_step = TILE, .runs = &(Run){0, 0}};
    divide(&image->next, g_twos * x_twos * taps);
    if (!image->configured) configure(image->configured = SIDE);
    for (int two = 0; two < g_twos; two++)
        for (int c = 0; c < x_twos; c++)
            for (int n = 0; n < p->parities * taps; n++) { /* first all that reads one half of the pairs */
                int tap = n % taps, i = tap / p->kernel, j = tap % p->kernel;
                int plane = i % p->step * p->step + j % p->step;
                int shift = i / p->step * p->grid.columns + j / p->step;
                if (shift % 2 != n / taps) continue;
                const bf16 *a = g_turned + two * 2 * g_tile;
                const bf16 *b = x_tiles + (shift % 2 * planes + plane) * x_plane + c * 2 * x_tile + shift / 2 * DEPTH;
                float *to = image->sums + (((size_t)two * x_twos + c) * taps + tap) * 4 * SUMS;
                fetch(&image->next);
                product.a[0] = a, product.a[1] = a + g_tile, product.b[0] = b, product.b[1] = b + x_tile;
                multiply_some(&product, 0, s->out_channels - two * DEPTH, p->x_values - c * DEPTH, to);
            }
    if (image->is_last) release();
}

/* The threads' sums for one channel of g. */
static void put_gradient(const void *plan, int o, const float *sums, size_t next, int team) {
    const Gradient *p = plan;
    const Shape *s = &p->work.shape;
    int taps = p->kernel * p->kernel, values_read = s->channels * (p->as_patches ? s->kernel * s->kernel : 1);
    float *to = p->work.gradient + o * p->work.w.written;
    for (int t = 0; t < taps; t++)
        for (int q = 0; q < values_read; q += SIDE) {
            size_t tile = (((size_t)(o / DEPTH) * (p->grid.depth / DEPTH) + q / DEPTH) * taps + t) * 4;
            tile += o % DEPTH / SIDE * 2 + q % DEPTH / SIDE;
            const float *from = sums + tile * SUMS + o % SIDE * SIDE;
            __m512 sum = _mm512_load_ps(from);
            for (int i = 1; i < team; i++) sum = _mm512_add_ps(sum, _mm512_load_ps(from + i * next));
            put_row(sum, to, &p->work.w, s, p->as_patches, t, q, least(SIDE, values_read - q));
        }
}

static int run_gradient(const Work *asked) {
    const Shape *s = &asked->shape;
    if (SQUARES_PAY && is_winograd(s)) return run_squares_gradient(asked);
    int as_patches = has_patches(s), kernel = as_patches ? 1 : s->kernel, step = as_patches ? 1 : s->stride;
    int padding = as_patches ? 0 : s->padding, taps = kernel * kernel, planes = step * step;
    /* Both grids have rows of the same length, so that a tap is a shift of one against the other. */
    int reach = (kernel - 1) / step, parities = reach > 0 ? 2 : 1;
    int rows = most(s->out_height + reach, (s->height + padding + step - 1) / step);
    int columns = (int)up(most(s->out_width + reach, (s->width + padding + step - 1) / step), parities);
    if (as_patches) rows = s->out_height, columns = s->out_width;
    int pixels = (int)up((size_t)s->out_height * columns, DEPTH);
    int pairs = (int)up(most(rows * columns, pixels + reach * columns + reach), 2) / 2 + 1;
    int depth = as_patches ? DEPTH : (int)up(s->channels, DEPTH), g_depth = (int)up(s->out_channels, DEPTH);
    int x_values = s->channels * (as_patches ? s->kernel * s->kernel : 1);
    Gradient p = {*asked, as_patches, kernel, step, parities,
                  pixels, pairs, x_values, (int)up(s->out_channels, SIDE) / SIDE,
                  {step, rows, columns, depth, padding, padding, (size_t)(2 * pairs + 2) * depth},
                  {1, s->out_height, columns, g_depth, 0, 0, (size_t)pixels * g_depth}};
    /* A thread's memory: both images on their grids and the border of the patches, which begin as zeros; then tiles. */
    Work *work = &p.work;
    work->zeroed = planes * p.grid.plane + p.g_grid.plane + (as_patches ? padded(s).size : 0);
    work->memory = work->zeroed + (size_t)parities * planes * pairs * 2 * depth + (size_t)p.g_tiles * pixels * SIDE;
    /* Its sums: of the tiles, two by two; of each value in a row of x, or in a pixel; of each in a pixel of g. */
    work->sums = (size_t)g_depth / DEPTH * (depth / DEPTH) * taps * 4 * SUMS;
    work->x_line.width = as_patches ? s->width : 1, work->x_line.depth = as_patches ? s->channels : depth;
    work->g_line.width = 1, work->g_line.depth = g_depth;
    work->compute = add_gradient, work->pieces_after = s->out_channels, work->finish = put_gradient;
    return run(work);
}
