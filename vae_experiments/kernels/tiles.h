/* Tiles of bfloat16, and products of them: C += A x B, A 16 x 32, B 32 x 16, stored as 16 rows of pairs, and C 16 x 16
 * in float32.
 */
enum {
    SIDE = 16,           /* of a tile of float32 */
    DEPTH = 32,          /* bfloat16 in a row of a tile */
    TILE = SIDE * DEPTH, /* bfloat16 in a tile */
    SUMS = SIDE * SIDE,  /* float32 in a tile */
};

/* One or two tiles of A, whose rows lie `a_pitch` apart, with one or two of B, summed over steps. These come in runs:
 * of each, the first tiles lie at `a` and `b` from where A and B begin, those of the next step a_step and TILE further.
 * Of each tile of A so many rows are wanted, and so many pairs in them are not zero: units may leave out the rest. */
typedef struct { size_t a, b; } Run;
typedef struct {
    const bf16 *a[2], *b[2];
    int rows, pairs, n_runs, steps;
    size_t a_pitch, a_step;
    const Run *runs;
} Product;

/* Of so many values in a row. */
static inline int pairs_of(int values) { return least(SIDE, (values + 1) / 2); }

/* How they are made: `configure` for so many rows before a thread's first product, `release` after its last, and
 *
 *   multiply(product, first, a_tiles, b_tiles, sums)
 *
 * for sums [2][2][16][16], by tiles of A and of B, += their products, or = if `first`; rows that are not wanted may
 * stay as they were, and of two tiles of B MOST_ROWS are summed at a time. Of up to FEW written channels, a convolution
 * is faster along the read ones; where SQUARES_PAY, others are with fewer products. */
#ifdef __AMX_BF16__
#include "amx.h"
#else
#include "dots.h"
#endif

/* The same of as many tiles, one or two, as there are in so many rows and columns. */
static inline void multiply_some(const Product *p, int first, int rows, int columns, float *sums) {
    multiply(p, first, rows > SIDE ? 2 : 1, columns > SIDE ? 2 : 1, sums);
}

static inline __mmask32 first32(int n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1; }
static inline __mmask16 first16(int n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }
