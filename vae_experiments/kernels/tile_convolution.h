/* Convolutions in bfloat16, and transposed ones: A is 16 pixels next to each other by 32 channels, B the weights of one
 * tap of the kernel.
 */

typedef struct {
    Work work;
    Layout layout;
    int as_patches, is_thin, depth, written_tiles, kernel_tiles; /* tiles of all taps for 16 channels */
    Grid grid;
    size_t staged; /* values of an image on its grid */
    bf16 *packed;
    float *biases;
    Run runs[MOST_TAPS]; /* one for each tap */
} Plan;

/* Tile after tile: for 16 written channels, for a tap, for 32 read ones. */
static void pack(const void *plan, int written_tile) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const Weights *w = &p->work.w;
    int taps = s->kernel * s->kernel, count = least(SIDE, s->out_channels - written_tile * SIDE);
    const float *first = p->work.weights + written_tile * SIDE * w->written;
    bf16 *to = p->packed + (size_t)written_tile * p->kernel_tiles * TILE;
    if (p->as_patches) {
        float patch[TILE] = {0};
        for (int v = 0; v < taps * s->channels; v++) {
            const float *from = first + tap_at(w, s->kernel, v / s->channels) + v % s->channels * w->read;
            for (int m = 0; m < count; m++) patch[v * SIDE + m] = from[m * w->written];
        }
        pack_tile(patch, SIDE, 1, taps * s->channels, count, to);
        return;
    }
    for (int tap = 0; tap < taps; tap++)
        for (int r = 0; r < s->channels; r += DEPTH, to += TILE)
            pack_tile(first + tap_at(w, s->kernel, tap) + r * w->read, w->read, w->written, s->channels - r, count, to);
}

static inline __attribute__((always_inline)) void convolve_class(const Plan *p, const Class *class, int tile,
                                                                 const int tiles, int rows, Image *image) {
    float sums[2][2 * SUMS] __attribute__((aligned(64)));
    const Shape *s = &p->work.shape;
    const Layout *l = &p->layout;
    const float *bias = p->biases + tile * SIDE;
    int across = (class->columns + rows - 1) / rows, blocks = class->rows * across;
    int left = s->out_channels - tile * SIDE;
    int n_values = s->channels * (p->as_patches ? s->kernel * s->kernel : 1);
    size_t out_pitch = (size_t)l->out_step * s->out_channels, of_tile = (size_t)p->kernel_tiles * TILE;
    const bf16 *b = p->packed + tile * of_tile;
    Product product = {.b = {b, b + of_tile}, .rows = rows, .pairs = pairs_of(n_values),
                       .n_runs = class->last_tap - class->first_tap, .steps = p->depth / DEPTH,
                       .a_pitch = (size_t)l->in_step * p->depth, .a_step = DEPTH, .runs = p->runs + class->first_tap};
    for (int block = 0; block < blocks; block += 2) {
        fetch(&image->next);
        bf16 *to[2];
        for (int i = 0; i < 2; i++) { /* the last one twice, if need be */
            int m = least(block + i, blocks - 1), u = m / across, v = least(m % across * rows, class->columns - rows);
            product.a[i] = image->memory + ((size_t)u * p->grid.columns + v) * l->in_step * p->depth;
            int row = class->row + u * l->out_step, column = class->column + v * l->out_step;
            to[i] = image->y + ((size_t)row * s->out_width + column) * s->out_channels + tile * SIDE;
        }
        multiply(&product, 1, 2, tiles, sums[0]);
        for (int i = 0; i < 2; i++)
            put(sums[i], tiles > 1 ? sums[i] + SUMS : NULL, bias, p->work.relu, rows, left, to[i], out_pitch);
    }
}

/* Weights [written][tap][depth]. */
static void pack_thin(const void *plan, int o) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const Weights *w = &p->work.w;
    bf16 *to = p->packed + (size_t)o * p->layout.n_taps * p->depth;
    for (int t = 0; t < p->layout.n_taps; t++) {
        const float *tap = p->work.weights + tap_at(w, s->kernel, p->layout.taps[t].weights) + o * w->written;
        for (int c = 0; c < p->depth; c += DEPTH, to += DEPTH) {
            float values[DEPTH] = {0};
            for (int i = 0; i < least(DEPTH, s->channels - c); i++) values[i] = tap[(c + i) * w->read];
            __m512 low = _mm512_loadu_ps(values), high = _mm512_loadu_ps(values + SIDE);
            _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
        }
    }
}

enum { PIXELS = 8 }; /* whose sums are kept at a time */

/* One class of an image's pixels, for few written channels. */
static void convolve_thin(const Plan *p, const Class *class, Image *image) {
    const Shape *s = &p->work.shape;
    const Layout *l = &p->layout;
    const __m256 least_value = _mm256_set1_ps(p->work.relu ? 0 : -__builtin_inff());
    int pixels = class->rows * class->columns;
    for (int m = 0; m < pixels; m += PIXELS) {
        fetch(&image->next);
        const bf16 *from[PIXELS];
        bf16 *to[PIXELS];
        for (int i = 0; i < PIXELS; i++) { /* the last one again and again, if need be */
            int u = least(m + i, pixels - 1) / class->columns, v = least(m + i, pixels - 1) % class->columns;
            from[i] = image->memory + ((size_t)u * l->columns + v) * l->in_step * p->depth;
            int row = class->row + u * l->out_step, column = class->column + v * l->out_step;
            to[i] = image->y + ((size_t)row * s->out_width + column) * s->out_channels;
        }
        for (int o = 0; o < s->out_channels; o++) {
            const bf16 *b = p->packed + (size_t)(o * l->n_taps + class->first_tap) * p->depth;
            __m512 sums[PIXELS] = {0};
            for (int t = class->first_tap; t < class->last_tap; t++)
                for (int c = 0; c < p->depth; c += DEPTH, b += DEPTH) {
                    __m512bh of_b = (__m512bh)_mm512_loadu_si512(b);
                    for (int i = 0; i < PIXELS; i++)
                        sums[i] = _mm512_dpbf16_ps(
                            sums[i], (__m512bh)_mm512_loadu_si512(from[i] + p->runs[t].a + c), of_b);
                }
            float each[PIXELS];
            for (int i = 0; i < PIXELS; i++) each[i] = _mm512_reduce_add_ps(sums[i]);
            __m256 y = _mm256_add_ps(_mm256_loadu_ps(each), _mm256_set1_ps(p->biases[o]));
            bf16 rounded[PIXELS];
            _mm_storeu_si128((__m128i *)rounded, (__m128i)_mm256_cvtneps_pbh(_mm256_max_ps(least_value, y)));
            for (int i = 0; i < PIXELS; i++) to[i][o] = rounded[i];
        }
    }
}

static void convolve_image(const void *plan, Image *image) {
    const Plan *p = plan;
    const Shape *s = &p->work.shape;
    const bf16 *x = image->read[X], *mask = image->read[X_MASK];
    if (p->as_patches) write_patches(x, mask, s, image->memory + p->staged, image->memory, NULL);
    else stage(x, mask, s->height, s->width, s->channels, &p->grid, image->memory, NULL);
    int pixels = s->out_height * s->out_width;
    divide(&image->next, p->is_thin ? pixels / PIXELS + 1 : pixels / SIDE / 2 * ((p->written_tiles + 1) / 2) + 1);
    for (int c = 0; c < p->layout.n_classes; c++) {
        const Class *class = &p->layout.classes[c];
        if (p->is_thin) {
            convolve_thin(p, class, image);
            continue;
        }
        int across = (class->columns + SIDE - 1) / SIDE, rows = (class->columns + across - 1) / across;
        if (rows != image->configured) configure(image->configured = rows);
        for (int tile = 0; tile < p->written_tiles; tile += 2)
            if (tile + 1 < p->written_tiles) convolve_class(p, class, tile, 2, rows, image);
            else convolve_class(p, class, tile, 1, rows, image);
    }
    if (image->is_last) release();
}

static int run_convolution(const Work *asked, int transposed) {
    const Shape *s = &asked->shape;
    if (SQUARES_PAY && !transposed && is_winograd(s)) return run_squares(asked);
    int as_patches = !transposed && has_patches(s), depth = as_patches ? DEPTH : (int)up(s->channels, DEPTH);
    int is_thin = !as_patches && s->out_channels <= FEW;
    Plan p = {.work = *asked, .as_patches = as_patches, .is_thin = is_thin, .depth = depth};
    Layout *l = &p.layout;
    if (as_patches) /* one tap, which leads to the patch of that pixel */
        lay_out(l, &(Shape){.out_height = s->out_height, .out_width = s->out_width, .kernel = 1, .stride = 1}, 0);
    else lay_out(l, s, transposed);
    p.written_tiles = (int)up(s->out_channels, SIDE) / SIDE;
    p.kernel_tiles = (as_patches ? 1 : s->kernel * s->kernel) * (depth / DEPTH);
    p.grid = (Grid){1, l->rows, l->columns, depth, l->top, l->left, 0};
    for (int t = 0; t < l->n_taps; t++)
        p.runs[t] = (Run){((size_t)l->taps[t].y * l->columns + l->taps[t].x) * depth,
                          (size_t)l->taps[t].weights * (depth / DEPTH) * TILE};
    p.staged = up((size_t)l->rows * l->columns * depth, DEPTH);
    size_t packed_size = (size_t)p.written_tiles * p.kernel_tiles * TILE;
    int biases = (p.written_tiles + 1) * SIDE;
    p.work.tables = p.packed = aligned_alloc(64, packed_size * sizeof(bf16) + biases * sizeof(float));
    if (!p.packed) return NO_MEMORY;
    p.biases = (float *)(p.packed + packed_size);
    copy_biases(asked, biases, p.biases);
    p.work.memory = p.work.zeroed = p.staged + (as_patches ? padded(s).size : 0);
    p.work.pieces_before = p.is_thin ? s->out_channels : p.written_tiles;
    p.work.prepare = p.is_thin ? pack_thin : pack, p.work.compute = convolve_image;
    return run(&p.work);
}
