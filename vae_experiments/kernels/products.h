/* Products of float32 on vector units, and images made ready for them.
 *
 * All is one kind of product, sums[m][n] += x[m_at[m] + k_at[k]] * b[k][n], where two tables say where x lies. Six rows
 * of it by as many vectors as there are registers for are summed at a time, over a part of k so short that its rows of
 * b stay in the first cache.
 */
#include <xmmintrin.h>

enum {
#ifdef __AVX512F__
    LANES = 16,
    VECTORS = 4,
#else
    LANES = 8,
    VECTORS = 2,
#endif
    WIDE = LANES * VECTORS, /* n in a product, at most */
    ROWS = 6,               /* m in a product */
    DEPTH = 112,            /* k in a product, at most */
    PREFETCHED = 32,        /* bytes of the next images, in each of these */
};

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));
typedef vector anywhere __attribute__((aligned(4), may_alias));

static inline vector load(const float *from) { return *(const anywhere *)from; }
static inline void store(float *to, vector values) { *(anywhere *)to = values; }
static inline void store_first(int count, float *to, vector values) {
    if (count >= LANES) store(to, values);
    else memcpy(to, &values, count * sizeof(float));
}

/* What is not a number stays so. */
static inline vector rectified(vector x) { return (vector)((integers)x & ~(x < 0)); }

static inline float summed(vector x) {
    float each[LANES];
    store(each, x);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) each[i] += each[i + half];
    return each[0];
}

/* So many rows, in whole products. */
static inline int filled(int m) { return (int)up(m, ROWS); }

/* The size of equal parts of n, none larger than that. */
static inline int equal_part(int n, int largest) {
    int parts = most((n + largest - 1) / largest, 1);
    return most((n + parts - 1) / parts, 1);
}

/* ---- the next images, which are to be in the cache before they are needed ---- */

typedef struct { const char *at[4], *end[4]; int image; } Ahead;

static const Ahead nothing;

/* The images behind x and g and their masks, each of so many values, any NULL. */
static inline Ahead ahead(const float *x, const float *x_mask, size_t x_image, const float *g, const float *g_mask,
                          size_t g_image) {
    Ahead a = nothing;
    const float *images[] = {x, x_mask, g, g_mask};
    for (int i = 0; i < 4; i++) {
        size_t size = i < 2 ? x_image : g_image;
        if (images[i]) a.at[i] = (const char *)(images[i] + size), a.end[i] = (const char *)(images[i] + 2 * size);
    }
    return a;
}

/* Where to ask for so many bytes; past all images, anywhere. */
static inline const char *advance(Ahead *a, int bytes) {
    while (a->image < 4 && a->at[a->image] >= a->end[a->image]) a->image++;
    if (a->image == 4) return (const char *)a;
    return (a->at[a->image] += bytes) - bytes;
}

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
#define CASE(vectors, first)                                                                 \
    case 2 * vectors + first:                                                                \
        multiply_by(vectors, first, x, m_at, k_at, depth, b, b_pitch, sums, next);               \
        break;
        CASE(1, 0)
        CASE(1, 1)
        CASE(2, 0)
        CASE(2, 1)
#ifdef __AVX512F__
        CASE(3, 0)
        CASE(3, 1)
        CASE(4, 0)
        CASE(4, 1)
#endif
    }
}

/* ---- images ---- */

/* So many values, zeros where the mask is not positive; where it is not a number, as they are. */
static inline void copy(const float *x, const float *mask, int count, float *to) {
    if (mask) for (int i = 0; i < count; i++) to[i] = mask[i] <= 0 ? 0 : x[i];
    else memcpy(to, x, count * sizeof(float));
}

/* An image into the middle of one with a border, `depth` values a pixel; of each value in a row, `row_sums` takes up
 * the sum over the rows, where it is given. */
static void stage(const float *x, const float *mask, int height, int width, int channels, int rows, int columns,
                  int top, int left, int depth, float *to, float *row_sums) {
    height = least(height, rows - top);
    int seen = least(width, columns - left);
    for (int y = 0; y < height; y++) {
        size_t from = (size_t)y * width * channels;
        float *row = to + ((size_t)(y + top) * columns + left) * depth;
        if (depth == channels) copy(x + from, mask ? mask + from : NULL, seen * channels, row);
        else
            for (int v = 0; v < seen; v++, from += channels)
                copy(x + from, mask ? mask + from : NULL, channels, row + (size_t)v * depth);
        if (row_sums) for (int i = 0; i < seen * depth; i++) row_sums[i] += row[i];
    }
}

/* What the threads' `row_sums` say of each channel; they lie `next` values apart. */
static void fold(const float *row_sums, int threads, size_t next, int width, int depth, int channels, float *sums) {
    memset(sums, 0, channels * sizeof(float));
    for (int thread = 0; thread < threads; thread++, row_sums += next)
        for (int v = 0; v < width; v++)
            for (int c = 0; c < channels; c++) sums[c] += row_sums[v * depth + c];
}
