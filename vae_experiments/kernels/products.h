/* Products of float32 on vector units, and images made ready for them.
 *
 * All is one kind of product, sums[m][n] += x[m_at[m] + k_at[k]] * b[k][n], where two tables say where x lies. Six rows
 * of it by as many vectors as there are registers for are summed at a time, over a part of k so short that its rows of
 * b stay in the first cache.
 */
#include "weights.h"

enum {
#ifdef __AVX512F__
    VECTORS = 4,
#else
    VECTORS = 2,
#endif
    WIDE = LANES * VECTORS, /* n in a product, at most */
    ROWS = 6,               /* m in a product */
    DEPTH = 112,            /* k in a product, at most */
    PREFETCHED = 32,        /* bytes of the next images, in each of these */
};

/* So many rows, in whole products. */
static inline int filled(int m) { return (int)up(m, ROWS); }

/* ---- products ---- */

/* All rows and vectors, written out: gcc would keep an array that loops go through in memory. */
#define OF_ROW(DO, m) DO(m, 0) DO(m, 1) DO(m, 2) DO(m, 3)
#define OF_ALL(DO) OF_ROW(DO, 0) OF_ROW(DO, 1) OF_ROW(DO, 2) OF_ROW(DO, 3) OF_ROW(DO, 4) OF_ROW(DO, 5)

static inline __attribute__((always_inline)) void multiply_by(const int vectors, const int first, const float *x,
                                                              const size_t *m_at, const size_t *k_at, int depth,
                                                              const float *b, size_t b_pitch, float *sums,
                                                              Ahead *next) {
    vector sum[ROWS][4], of_b[4];
    const char *coming = advance(next, depth * PREFETCHED);
    const float *a0 = x + m_at[0], *a1 = x + m_at[1], *a2 = x + m_at[2];
    const float *a3 = x + m_at[3], *a4 = x + m_at[4], *a5 = x + m_at[5];
    __asm__("" : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(a4), "+r"(a5)); /* or gcc adds them up anew for each k */
#define BEGIN(m, n) if (n < vectors) sum[m][n] = first ? (vector){0} : load(sums + (m * vectors + n) * LANES);
    OF_ALL(BEGIN)
    for (int k = 0; k < depth; k++, b += b_pitch, coming += PREFETCHED) {
        size_t at = k_at[k];
        _mm_prefetch(coming, _MM_HINT_T1);
#define OF_B(m, n) if (n < vectors) of_b[n] = load(b + n * LANES);
        OF_ROW(OF_B, 0)
#define ADD(m, n) if (n < vectors) sum[m][n] += a##m[at] * of_b[n];
        OF_ALL(ADD)
    }
#define END(m, n) if (n < vectors) store(sums + (m * vectors + n) * LANES, sum[m][n]);
    OF_ALL(END)
}

/* sums [ROWS][width] += ..., or = if `first`; width is a multiple of LANES, b has rows of b_pitch values. */
static void multiply(int width, int first, const float *x, const size_t *m_at, const size_t *k_at, int depth,
                     const float *b, size_t b_pitch, float *sums, Ahead *next) {
    switch (2 * width / LANES + (first != 0)) {
#define CASE(vectors, first)                                                       \
    case 2 * vectors + first:                                                      \
        multiply_by(vectors, first, x, m_at, k_at, depth, b, b_pitch, sums, next); \
        break;
        CASE(1, 0) CASE(1, 1) CASE(2, 0) CASE(2, 1)
#ifdef __AVX512F__
        CASE(3, 0) CASE(3, 1) CASE(4, 0) CASE(4, 1)
#endif
    }
}

/* ---- images ---- */

/* So many values, zeros where the mask is not positive; where it is not a number, as they are. */
static inline void copy(const float *x, const float *mask, int count, float *to) {
    if (mask) for (int i = 0; i < count; i++) to[i] = mask[i] <= 0 ? 0 : x[i];
    else memcpy(to, x, count * sizeof(float));
}

/* Where an image's pixels go: into the middle of one with a border of zeros, `depth` values each. */
typedef struct { int rows, columns, top, left, depth; } Grid;

static size_t grid_size(const Grid *grid) { return up((size_t)grid->rows * grid->columns * grid->depth, LANES); }

/* X or G. The sums over the rows, where they are asked for, take up what is seen. */
static void stage(const Work *work, const Image *image, int which, const Grid *grid, float *to) {
    const Shape *s = &work->shape;
    const float *x = image->read[which], *mask = image->read[which + 1];
    float *row_sums = which == X ? image->x_sums : image->g_sums;
    int width = which == X ? s->width : s->out_width, channels = which == X ? s->channels : s->out_channels;
    int height = least(which == X ? s->height : s->out_height, grid->rows - grid->top);
    int seen = least(width, grid->columns - grid->left), depth = grid->depth;
    for (int y = 0; y < height; y++) {
        size_t from = (size_t)y * width * channels;
        float *row = to + ((size_t)(y + grid->top) * grid->columns + grid->left) * depth;
        if (depth == channels) copy(x + from, mask ? mask + from : NULL, seen * channels, row);
        else
            for (int v = 0; v < seen; v++, from += channels)
                copy(x + from, mask ? mask + from : NULL, channels, row + (size_t)v * depth);
        if (row_sums) for (int i = 0; i < seen * depth; i++) row_sums[i] += row[i];
    }
}

/* ---- weights ---- */

/* Weights of up to LANES by LANES channels, that r has in rows of written ones, to where they lie; r is lost. */
static void put_weights(vector r[LANES], const Weights *w, int n_read, int n_written, float *to) {
    int along_read = w->read == 1;
    if (along_read) transpose(r);
    int rows = least(LANES, along_read ? n_written : n_read), count = along_read ? n_read : n_written;
    int64_t next = along_read ? w->written : w->read, step = along_read ? 1 : w->written;
    for (int i = 0; i < rows; i++, to += next)
        if (step == 1) store_first(count, to, r[i]);
        else for (int j = 0; j < least(LANES, count); j++) to[j * step] = r[i][j];
}

/* ---- plans ---- */

/* Squares of pixels, whose 4 x 4 places each have a plane in memory: see vector_squares.h. */
typedef struct {
    int rows, columns, all, part;        /* in a column, in a row; how many are computed at a time */
    size_t plane, out_plane, sums_plane; /* of a part of x; of y or g; of the weights' gradient */
} Squares;

typedef struct {
    Work work;
    Grid grid, g_grid; /* of x and g */
    Layout layout;
    Squares squares;
    int tiles;               /* of WIDE written channels */
    size_t *m_at, *k_at;     /* the products' tables */
    float *weights, *biases; /* packed, tile after tile */
} Plan;

/* Memory for so many weights of each written channel and so many places in the tables; 0 if there is none. What begins
 * as zeros is said, too. */
static int allocate(Plan *p, size_t weights, size_t m, size_t k) {
    Work *work = &p->work;
    int biases = (int)up(work->shape.out_channels, LANES);
    p->tiles = (work->shape.out_channels + WIDE - 1) / WIDE, weights *= p->tiles * WIDE;
    size_t bytes = (weights + biases) * sizeof(float) + (m + k) * sizeof(size_t);
    work->tables = p->weights = aligned_alloc(64, up(bytes, 64));
    if (!work->tables) return 0;
    p->biases = p->weights + weights, p->m_at = (size_t *)(p->biases + biases), p->k_at = p->m_at + m;
    copy_biases(work, biases, p->biases);
    work->zeroed = grid_size(&p->grid) + (work->gradient ? grid_size(&p->g_grid) : 0);
    work->x_line.width = work->shape.width, work->x_line.depth = p->grid.depth;
    work->g_line.width = work->shape.out_width, work->g_line.depth = p->g_grid.depth;
    return 1;
}
