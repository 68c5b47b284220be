/* Dense layers in bfloat16 on tiles, forwards and backwards.
 *
 * Of the two sizes of a layer before or behind convolutions, one is far wider than the other and than the batch. The
 * threads share it, part by part: while the part's values and weights are in the cache, all products with them are made:
 *   - gather: narrow [batch][narrow] += wide [batch][part] x weights;
 *   - scatter: wide [batch][part] = narrow [batch][narrow] x weights;
 *   - outer: the weights' gradient [narrow][part] = narrow' x wide.
 * A layer that narrows gathers forwards and scatters backwards, one that widens does so the other way round.
 */

/* What is asked for; what is NULL is not there, or not wanted. */
typedef struct {
    int batch, inputs, outputs, relu;
    const float *weights, *bias; /* weights [outputs][inputs] */
    const bf16 *x, *g, *mask;    /* [batch][inputs]; [batch][outputs], a gradient that counts where mask is positive */
    bf16 *y, *dx;
    float *dw, *db;
} Task;

/* The same by width. */
typedef struct {
    int batch, wide, narrow, widens, relu;
    const float *weights, *bias;
    const bf16 *wide_in, *wide_mask, *narrow_in, *narrow_mask;
    bf16 *wide_out, *narrow_out;
    float *gradient, *wide_sums, *narrow_sums; /* of the weights; over the batch, of what is read */
} Dense;

static Dense by_width(const Task *t) {
    Dense d = {.batch = t->batch, .relu = t->relu, .weights = t->weights, .bias = t->bias, .gradient = t->dw};
    d.widens = t->outputs > t->inputs, d.wide = most(t->inputs, t->outputs), d.narrow = least(t->inputs, t->outputs);
    if (d.widens) {
        d.narrow_in = t->x, d.wide_out = t->y;
        d.wide_in = t->g, d.wide_mask = t->mask, d.narrow_out = t->dx, d.wide_sums = t->db;
    } else {
        d.wide_in = t->x, d.narrow_out = t->y;
        d.narrow_in = t->g, d.narrow_mask = t->mask, d.wide_out = t->dx, d.narrow_sums = t->db;
    }
    return d;
}

enum { PART = 16 * 1024 }; /* wide values of the whole batch that are worked on at a time: 32 KiB of them */

/* Values [batch][pitch], `count` of each row, as [count / 32][rows][32]; what is added stays zero. */
static void stage_rows(const bf16 *x, const bf16 *mask, int batch, size_t pitch, int count, int rows, bf16 *to,
                       float *sums) {
    for (int c = 0; c < count; c += DEPTH, to += (size_t)rows * DEPTH) {
        __mmask32 chosen = first32(count - c);
        __m512 first_sums = _mm512_setzero_ps(), second_sums = first_sums;
        for (int b = 0; b < batch; b++) {
            size_t from = b * pitch + c;
            __m512i value = values(x + from, mask ? mask + from : NULL, chosen);
            _mm512_store_si512(to + b * DEPTH, value);
            if (!sums) continue;
            first_sums = _mm512_add_ps(first_sums, first_half(value));
            second_sums = _mm512_add_ps(second_sums, second_half(value));
        }
        if (!sums) continue;
        _mm512_mask_storeu_ps(sums + c, first16(count - c), first_sums);
        _mm512_mask_storeu_ps(sums + c + SIDE, first16(count - c - SIDE), second_sums);
    }
}

/* sums [2][2][16][16] += A x B, of 32 rows by 32 columns; a step further on lie the next 32 that are summed over. */
static inline void add_product(const bf16 *a, size_t a_next, size_t a_step, const bf16 *b, size_t b_next, int steps,
                               int first, float *sums) {
    SETTLE;
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, 64);
        _tile_loadd(1, sums + SUMS, 64);
        _tile_loadd(2, sums + 2 * SUMS, 64);
        _tile_loadd(3, sums + 3 * SUMS, 64);
    }
    for (int step = 0; step < steps; step++, a += a_step, b += TILE) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + b_next, 64);
        _tile_loadd(5, a + a_next, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + SUMS, 64);
    _tile_stored(2, sums + 2 * SUMS, 64);
    _tile_stored(3, sums + 3 * SUMS, 64);
}

/* Sums [2][2][16][16] of 32 rows from `row` on by so many columns, as values. */
static void put_values(const Dense *d, const float *sums, int row, int first, int count, const float *bias, int pitch,
                       bf16 *to) {
    for (int half = 0; half < 2; half++, row += SIDE, sums += 2 * SUMS)
        put(sums, sums + SUMS, bias, d->relu, least(SIDE, d->batch - row), count, to + (size_t)row * pitch + first,
            pitch);
}

/* Sums [2][2][16][16] of 32 narrow by 32 wide ones, as the weights' gradient. */
static void put_outer(const Dense *d, const float *sums, int narrow, int wide) {
    for (int tile = 0; tile < 4; tile++, sums += SUMS) {
        int n = narrow + tile / 2 * SIDE, w = wide + tile % 2 * SIDE;
        int rows = d->widens ? d->wide - w : d->narrow - n, columns = d->widens ? d->narrow - n : d->wide - w;
        size_t pitch = d->widens ? d->narrow : d->wide;
        float *to = d->gradient + (d->widens ? w * pitch + n : n * pitch + w);
        __m512i r[SIDE];
        for (int i = 0; i < SIDE; i++) r[i] = _mm512_load_si512(sums + i * SIDE);
        if (d->widens) transpose(r);
        for (int i = 0; i < least(SIDE, rows); i++, to += pitch)
            _mm512_mask_storeu_ps(to, first16(columns), (__m512)r[i]);
    }
}

/* Fills y = relu(x weights' + bias); or dx, dw and db, the gradients. */
int dense(const Task *task, int threads) {
    const Dense of_width = by_width(task), *d = &of_width;
    int filled = (int)up(d->batch, DEPTH), rows = filled + 2; /* `couple` looks that far */
    int narrow = (int)up(d->narrow, DEPTH), k_tiles = narrow / DEPTH;
    int most_at_once = most(PART / filled / DEPTH, 1) * DEPTH, parts = (d->wide + most_at_once - 1) / most_at_once;
    parts = (int)up(parts, threads);
    int part = (int)up((d->wide + parts - 1) / parts, DEPTH);
    parts = (d->wide + part - 1) / part;
    size_t narrow_size = (size_t)rows * narrow, wide_size = (size_t)rows * part, zeroed = narrow_size + wide_size;
    size_t turned_size = (size_t)filled * narrow, coupled_size = (size_t)filled * part;
    size_t weights_size = (size_t)part * narrow, all_sums = (size_t)filled * narrow;
    int64_t wide_step = d->widens ? d->narrow : 1, narrow_step = d->widens ? 1 : d->wide;
    size_t biases_size = up(d->widens ? d->wide : d->narrow, DEPTH) + (d->widens ? 0 : DEPTH);
    float *sums = d->narrow_out ? aligned_alloc(64, all_sums * threads * sizeof(float)) : NULL;
    float *biases = calloc(most((int)biases_size, part), sizeof(float));
    int failed = !biases || (d->narrow_out && !sums), team = 1;
    if (!failed && d->bias) memcpy(biases, d->bias, (d->widens ? d->wide : d->narrow) * sizeof(float));
#pragma omp parallel num_threads(threads) reduction(| : failed) if (!failed)
    {
        int thread = omp_get_thread_num();
        size_t own_size = zeroed + turned_size + coupled_size + weights_size;
        bf16 *narrow_staged = scratch(own_size * sizeof(bf16)), *wide_staged = narrow_staged + narrow_size;
        bf16 *turned = narrow_staged + zeroed, *coupled = turned + turned_size, *packed = coupled + coupled_size;
        float own[4 * SUMS] __attribute__((aligned(64)));
        failed |= !narrow_staged || !biases || (d->narrow_out && !sums);
#pragma omp single
        team = omp_get_num_threads();
        if (!failed) {
            memset(narrow_staged, 0, zeroed * sizeof(bf16));
            if (d->narrow_in) {
                stage_rows(d->narrow_in, d->narrow_mask, d->batch, d->narrow, d->narrow, rows, narrow_staged,
                           thread == 0 ? d->narrow_sums : NULL);
                for (int n = 0; d->gradient && n < narrow; n += DEPTH)
                    turn(narrow_staged + (size_t)n * rows, filled, DEPTH, 2, turned + (size_t)n * filled);
            }
            if (sums) memset(sums + thread * all_sums, 0, all_sums * sizeof(float));
            configure(SIDE);
        }
#pragma omp for schedule(static)
        for (int p = 0; p < parts; p++) {
            if (failed) continue;
            int first = p * part, count = least(part, d->wide - first), blocks = (int)up(count, DEPTH) / DEPTH;
            const float *weights = d->weights + first * wide_step;
            if (d->wide_in)
                stage_rows(d->wide_in + first, d->wide_mask ? d->wide_mask + first : NULL, d->batch, d->wide, count,
                           rows, wide_staged, d->wide_sums ? d->wide_sums + first : NULL);
            if (d->gradient) {
                for (int block = 0; block < blocks; block++)
                    couple(wide_staged + (size_t)block * rows * DEPTH, filled / 2, DEPTH,
                           coupled + (size_t)block * filled * DEPTH, NULL);
                for (int n = 0; n < narrow; n += DEPTH)
                    for (int block = 0; block < blocks; block++) {
                        size_t half = (size_t)filled * SIDE;
                        add_product(turned + (size_t)n * filled, half, TILE,
                                    coupled + (size_t)block * filled * DEPTH, half, filled / DEPTH, 1, own);
                        put_outer(d, own, n, first + block * DEPTH);
                    }
            }
            if (d->narrow_out) {
                for (int n = 0; n < narrow; n += SIDE)
                    for (int block = 0; block < blocks; block++)
                        pack_tile(weights + n * narrow_step + block * DEPTH * wide_step, wide_step, narrow_step,
                                  count - block * DEPTH, d->narrow - n,
                                  packed + ((size_t)n / SIDE * blocks + block) * TILE);
                for (int b = 0; b < filled; b += DEPTH)
                    for (int n = 0; n < narrow; n += DEPTH)
                        add_product(wide_staged + (size_t)b * DEPTH, TILE, (size_t)rows * DEPTH,
                                    packed + (size_t)n / SIDE * blocks * TILE, (size_t)blocks * TILE, blocks, 0,
                                    sums + thread * all_sums + (size_t)b * narrow + n * DEPTH);
            }
            if (d->wide_out)
                for (int block = 0; block < blocks; block++) {
                    int w = block * DEPTH;
                    for (int half = 0; half < 2; half++)
                        for (int k = 0; k < k_tiles; k++)
                            pack_tile(weights + (w + half * SIDE) * wide_step + k * DEPTH * narrow_step, narrow_step,
                                      wide_step, d->narrow - k * DEPTH, count - w - half * SIDE,
                                      packed + ((size_t)half * k_tiles + k) * TILE);
                    for (int b = 0; b < filled; b += DEPTH) {
                        add_product(narrow_staged + (size_t)b * DEPTH, TILE, (size_t)rows * DEPTH, packed,
                                    (size_t)k_tiles * TILE, k_tiles, 1, own);
                        put_values(d, own, b, first + w, count - w, biases + (d->bias ? first + w : 0), d->wide,
                                   d->wide_out);
                    }
                }
        }
#pragma omp for schedule(static)
        for (int b = 0; b < (d->narrow_out ? filled : 0); b += DEPTH) {
            if (failed) continue;
            for (int n = 0; n < narrow; n += DEPTH) {
                const float *from = sums + (size_t)b * narrow + n * DEPTH;
                for (int i = 0; i < 4 * SUMS; i += SIDE) {
                    __m512 sum = _mm512_load_ps(from + i);
                    for (int t = 1; t < team; t++) sum = _mm512_add_ps(sum, _mm512_load_ps(from + t * all_sums + i));
                    _mm512_store_ps(own + i, sum);
                }
                put_values(d, own, b, n, d->narrow - n, biases + n, d->narrow, d->narrow_out);
            }
        }
        if (!failed) _tile_release();
    }
    free(sums), free(biases);
    return failed ? NO_MEMORY : DONE;
}
