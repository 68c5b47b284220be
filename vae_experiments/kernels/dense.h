/* Dense layers in bfloat16, forwards and backwards.
 *
 * Of the two sizes of a layer before or behind convolutions, one is far wider than the other and than the batch. The
 * threads share it, part by part; while a part's values and weights are in the cache, all products with them are made:
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

/* The same by width, and how it is done: `run` is given the parts of the wide side where it expects images. */
typedef struct {
    Work work;
    int batch, wide, narrow, widens;
    const bf16 *wide_in, *wide_mask, *narrow_in, *narrow_mask;
    bf16 *wide_out, *narrow_out;
    float *gradient, *wide_sums, *narrow_sums; /* of the weights; over the batch, of what is read */
    int rows, staged_rows, part, columns;      /* filled up: batch, that for `couple`, wide in a part, narrow */
    size_t wide_step, narrow_step;             /* from weight to weight */
    size_t coupled_at, packed_at;              /* in a thread's memory */
    bf16 *staged, *turned;                     /* the narrow side */
    float *biases;
} Dense;

/* Of A [rows][values], tiles that lie so far apart, and B [values][columns]: sums [2][2][16][16]. */
static void multiply_part(const bf16 *a, size_t a_next, size_t a_step, const bf16 *b, size_t b_next, int rows,
                          int values, int columns, const int first, float *sums) {
    Product product = {{a, a + a_next}, {b, b + b_next}, least(SIDE, rows), pairs_of(values),
                       1, (int)up(values, DEPTH) / DEPTH, DEPTH, a_step, &(Run){0, 0}};
    multiply_some(&product, first, rows, columns, sums);
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

/* 32 of the narrow side, for all threads. */
static void stage_narrow(const void *plan, int block) {
    const Dense *d = plan;
    int first = block * DEPTH, count = least(DEPTH, d->narrow - first);
    const bf16 *mask = d->narrow_mask ? d->narrow_mask + first : NULL;
    bf16 *staged = d->staged + (size_t)first * d->staged_rows;
    memset(staged, 0, (size_t)d->staged_rows * DEPTH * sizeof(bf16));
    stage_rows(d->narrow_in + first, mask, d->batch, d->narrow, count, d->staged_rows, staged,
               d->narrow_sums ? d->narrow_sums + first : NULL);
    if (d->gradient) turn(staged, d->rows, DEPTH, 2, d->turned + (size_t)first * d->rows);
}

/* Sums [2][2][16][16] of 32 rows from `row` on by 32 columns, of `width`, as values. */
static void put_values(const Dense *d, const float *sums, int row, int first, int width, bf16 *to) {
    for (int half = 0; half < 2; half++, row += SIDE, sums += 2 * SUMS)
        put(sums, sums + SUMS, d->biases + first, d->work.relu, least(SIDE, d->batch - row), width - first,
            to + (size_t)row * width + first, width);
}

/* Sums [2][2][16][16] of 32 narrow by 32 wide ones, as the weights' gradient. */
static void put_outer(const Dense *d, const float *sums, int narrow, int wide) {
    for (int tile = 0; tile < 4; tile++, sums += SUMS) {
        int n = narrow + tile / 2 * SIDE, w = wide + tile % 2 * SIDE;
        int rows = d->widens ? d->wide - w : d->narrow - n, columns = d->widens ? d->narrow - n : d->wide - w;
        float *to = d->gradient + n * d->narrow_step + w * d->wide_step;
        __m512i r[SIDE];
        for (int i = 0; i < SIDE; i++) r[i] = _mm512_load_si512(sums + i * SIDE);
        if (d->widens) transpose_words(r);
        for (int i = 0; i < least(SIDE, rows); i++, to += d->widens ? d->wide_step : d->narrow_step)
            _mm512_mask_storeu_ps(to, first16(columns), (__m512)r[i]);
    }
}

static void outer(const Dense *d, int first, int blocks, const bf16 *wide, bf16 *coupled) {
    float sums[4 * SUMS] __attribute__((aligned(64)));
    size_t half = (size_t)d->rows * SIDE;
    for (int block = 0; block < blocks; block++) {
        int w = first + block * DEPTH;
        couple(wide + (size_t)block * d->staged_rows * DEPTH, d->rows / 2, DEPTH, coupled, NULL);
        for (int n = 0; n < d->columns; n += DEPTH) {
            multiply_part(d->turned + (size_t)n * d->rows, half, TILE, coupled, half, d->narrow - n, d->batch,
                          d->wide - w, 1, sums);
            put_outer(d, sums, n, w);
        }
    }
}

static void gather(const Dense *d, int first, int blocks, const bf16 *wide, bf16 *packed, float *sums) {
    for (int n = 0; n < d->columns; n += SIDE)
        for (int block = 0; block < blocks; block++) {
            int w = first + block * DEPTH;
            pack_tile(d->work.weights + n * d->narrow_step + w * d->wide_step, d->wide_step, d->narrow_step,
                      d->wide - w, d->narrow - n, packed + ((size_t)n / SIDE * blocks + block) * TILE);
        }
    for (int b = 0; b < d->rows; b += DEPTH)
        for (int n = 0; n < d->columns; n += DEPTH, sums += 4 * SUMS)
            multiply_part(wide + (size_t)b * DEPTH, TILE, (size_t)d->staged_rows * DEPTH,
                          packed + (size_t)n / SIDE * blocks * TILE, (size_t)blocks * TILE, d->batch - b,
                          blocks * DEPTH, d->narrow - n, 0, sums);
}

static void scatter(const Dense *d, int first, int blocks, bf16 *packed) {
    float sums[4 * SUMS] __attribute__((aligned(64)));
    int k_tiles = d->columns / DEPTH;
    for (int w = first; w < first + blocks * DEPTH; w += DEPTH) {
        for (int half = 0; half < 2; half++)
            for (int k = 0; k < k_tiles; k++) {
                int n = k * DEPTH, m = w + half * SIDE;
                pack_tile(d->work.weights + n * d->narrow_step + m * d->wide_step, d->narrow_step, d->wide_step,
                          d->narrow - n, d->wide - m, packed + ((size_t)half * k_tiles + k) * TILE);
            }
        for (int b = 0; b < d->rows; b += DEPTH) {
            multiply_part(d->staged + (size_t)b * DEPTH, TILE, (size_t)d->staged_rows * DEPTH, packed,
                          (size_t)k_tiles * TILE, d->batch - b, d->narrow, d->wide - w, 1, sums);
            put_values(d, sums, b, w, d->wide, d->wide_out);
        }
    }
}

static void compute_part(const void *plan, Image *part) {
    const Dense *d = plan;
    int first = part->index * d->part, count = least(d->part, d->wide - first), blocks = (int)up(count, DEPTH) / DEPTH;
    const bf16 *mask = d->wide_mask ? d->wide_mask + first : NULL;
    if (!part->configured) configure(part->configured = SIDE);
    if (d->wide_in)
        stage_rows(d->wide_in + first, mask, d->batch, d->wide, count, d->staged_rows, part->memory,
                   d->wide_sums ? d->wide_sums + first : NULL);
    if (d->gradient) outer(d, first, blocks, part->memory, part->memory + d->coupled_at);
    if (d->narrow_out) gather(d, first, blocks, part->memory, part->memory + d->packed_at, part->sums);
    if (d->wide_out) scatter(d, first, blocks, part->memory + d->packed_at);
    if (part->is_last) release();
}

/* What the threads have gathered, of 32 rows. */
static void put_gathered(const void *plan, int piece, const float *gathered, size_t next, int team) {
    const Dense *d = plan;
    float sums[4 * SUMS] __attribute__((aligned(64)));
    gathered += (size_t)piece * DEPTH * d->columns;
    for (int n = 0; n < d->columns; n += DEPTH, gathered += 4 * SUMS) {
        for (int i = 0; i < 4 * SUMS; i += SIDE) {
            __m512 sum = _mm512_load_ps(gathered + i);
            for (int t = 1; t < team; t++) sum = _mm512_add_ps(sum, _mm512_load_ps(gathered + t * next + i));
            _mm512_store_ps(sums + i, sum);
        }
        put_values(d, sums, piece * DEPTH, n, d->narrow, d->narrow_out);
    }
}

static Dense by_width(const Task *t, int threads) {
    Dense d = {.batch = t->batch, .gradient = t->dw, .widens = t->outputs > t->inputs};
    d.work = (Work){.relu = t->relu, .threads = threads, .weights = t->weights};
    d.wide = most(t->inputs, t->outputs), d.narrow = least(t->inputs, t->outputs);
    d.wide_step = d.widens ? d.narrow : 1, d.narrow_step = d.widens ? 1 : d.wide;
    if (d.widens) {
        d.narrow_in = t->x, d.wide_out = t->y;
        d.wide_in = t->g, d.wide_mask = t->mask, d.narrow_out = t->dx, d.wide_sums = t->db;
    } else {
        d.wide_in = t->x, d.narrow_out = t->y;
        d.narrow_in = t->g, d.narrow_mask = t->mask, d.wide_out = t->dx, d.narrow_sums = t->db;
    }
    return d;
}

/* Fills y = relu(x weights' + bias); or dx, dw and db, the gradients. */
int dense(const Task *task, int threads) {
    Dense d = by_width(task, threads);
    d.rows = (int)up(d.batch, DEPTH), d.staged_rows = d.rows + 2, d.columns = (int)up(d.narrow, DEPTH);
    /* As many parts for each thread, none too large. */
    int blocks = (int)up(d.wide, DEPTH) / DEPTH, most_blocks = most(PART / d.rows / DEPTH, 1);
    int parts = (int)up((blocks + most_blocks - 1) / most_blocks, threads);
    d.part = (blocks + parts - 1) / parts * DEPTH;
    size_t wide = (size_t)d.staged_rows * d.part, narrow = (size_t)d.staged_rows * d.columns;
    size_t n_biases = up(d.wide, DEPTH); /* zeros, where dx is written */
    d.coupled_at = wide, d.packed_at = d.coupled_at + (size_t)d.rows * DEPTH;
    d.work.memory = d.packed_at + (size_t)d.part * d.columns, d.work.zeroed = wide;
    d.work.tables = aligned_alloc(64, up(2 * narrow * sizeof(bf16) + n_biases * sizeof(float), 64));
    if (!d.work.tables) return NO_MEMORY;
    d.staged = d.work.tables, d.turned = d.staged + narrow, d.biases = (float *)(d.turned + narrow);
    for (size_t i = 0; i < n_biases; i++) d.biases[i] = task->bias && i < (size_t)task->outputs ? task->bias[i] : 0;
    d.work.shape.batch = (d.wide + d.part - 1) / d.part, d.work.compute = compute_part;
    d.work.threads = least(threads, d.work.shape.batch);
    if (d.narrow_in) d.work.pieces_before = d.columns / DEPTH, d.work.prepare = stage_narrow;
    if (d.narrow_out) {
        d.work.sums = (size_t)d.rows * d.columns;
        d.work.pieces_after = d.rows / DEPTH, d.work.finish = put_gathered;
    }
    return run(&d.work);
}
