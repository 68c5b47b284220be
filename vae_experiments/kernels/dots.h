/* Products of tiles, on a CPU's vector units (AVX-512 BF16): `vdpbf16ps` adds the products of a pair of A's values with
 * a row of B, 16 pairs, to a row of C. As many rows of one or two tiles of C as there are registers for are summed at a
 * time.
 */

enum {
    MOST_ROWS = 14, /* of 32 registers, B takes two and A one */
    FEW = 4,
    SQUARES_PAY = 1,
};

typedef int lane __attribute__((may_alias));

static int request_units(void) { return 0; }
static void configure(int rows) { (void)rows; }
static void release(void) {}

/* All rows, written out: gcc would keep an array that loops go through in memory. */
#define OF_ROWS(DO) \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15)

/* Rows of one tile of A, from `row` on. */
static inline __attribute__((always_inline)) void dot(const int rows, const int b_tiles, const Product *p, int tile,
                                                      int row, __mmask16 kept, float *sums) {
    __m512 sum[SIDE][2];
    const char *a = (const char *)(p->a[tile] + row * p->a_pitch);
    const size_t pitch = p->a_pitch * sizeof(bf16);
    sums += (2 * tile * SIDE + row) * SIDE;
#define BEGIN(r) \
    if (r < rows) { \
        sum[r][0] = _mm512_maskz_load_ps(kept, sums + r * SIDE); \
        if (b_tiles > 1) sum[r][1] = _mm512_maskz_load_ps(kept, sums + SUMS + r * SIDE); \
    }
    OF_ROWS(BEGIN)
    for (const Run *run = p->runs; run < p->runs + p->n_runs; run++) {
        const char *from = a + run->a * sizeof(bf16);
        const bf16 *b0 = p->b[0] + run->b, *b1 = p->b[1] + run->b;
        for (int step = 0; step < p->steps; step++, from += p->a_step * sizeof(bf16), b0 += TILE, b1 += TILE) {
            const char *at[SIDE / 3 + 1];
            for (int i = 0; i <= SIDE / 3; i++) {
                at[i] = from + 3 * i * pitch;
                __asm__("" : "+r"(at[i])); /* or gcc adds it up each time */
            }
            for (int k = 0; k < p->pairs; k++) {
                __m512bh of_b0 = (__m512bh)_mm512_load_si512(b0 + k * DEPTH), of_b1;
                if (b_tiles > 1) of_b1 = (__m512bh)_mm512_load_si512(b1 + k * DEPTH);
#define ADD(r) \
    if (r < rows) { \
        __m512bh pair = (__m512bh)_mm512_set1_epi32(*(const lane *)(at[r / 3] + r % 3 * pitch + k * 4)); \
        sum[r][0] = _mm512_dpbf16_ps(sum[r][0], pair, of_b0); \
        if (b_tiles > 1) sum[r][1] = _mm512_dpbf16_ps(sum[r][1], pair, of_b1); \
    }
                OF_ROWS(ADD)
            }
        }
    }
#define END(r) \
    if (r < rows) { \
        _mm512_store_ps(sums + r * SIDE, sum[r][0]); \
        if (b_tiles > 1) _mm512_store_ps(sums + SUMS + r * SIDE, sum[r][1]); \
    }
    OF_ROWS(END)
}

static inline __attribute__((always_inline)) void multiply_by(const int b_tiles, const Product *p, __mmask16 kept,
                                                              int a_tiles, float *sums) {
    int largest = b_tiles > 1 ? MOST_ROWS : SIDE, part = equal_part(p->rows, largest);
    for (int tile = 0; tile < a_tiles; tile++)
        for (int row = 0; row < p->rows; row += part)
            switch (least(part, p->rows - row)) {
#define CASE(r) \
    case r + 1: \
        if (r < largest) dot(r + 1, b_tiles, p, tile, row, kept, sums); \
        break;
                OF_ROWS(CASE)
            }
}

static void multiply(const Product *p, int first, int a_tiles, int b_tiles, float *sums) {
    __mmask16 kept = first ? 0 : 0xffff;
    if (b_tiles > 1) multiply_by(2, p, kept, a_tiles, sums);
    else multiply_by(1, p, kept, a_tiles, sums);
}
#undef OF_ROWS
#undef BEGIN
#undef ADD
#undef END
#undef CASE
