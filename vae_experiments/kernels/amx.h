/* Products of tiles, on a CPU's tile units (AMX): `tdpbf16ps` adds A x B to C, each of them in a register. */
#include <sys/syscall.h>
#include <unistd.h>

/* What was written is in memory from here on: gcc's intrinsics that load tiles do not say that they read it. */
#define SETTLE __asm__ volatile("" ::: "memory")

/* Linux gives tiles to those processes that ask for them. */
static int request_units(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    if (!__builtin_cpu_supports("amx-bf16")) return -1;
    return (int)syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

/* Tiles 0 to 3 add up, 4 and 5 are A, 6 and 7 B. */
static void configure(int rows) {
    struct { uint8_t palette, start, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } tiles
        __attribute__((aligned(64))) = {.palette = 1};
    for (int t = 0; t < 8; t++) tiles.row_bytes[t] = 64, tiles.rows[t] = (uint8_t)(t < 6 ? rows : SIDE);
    SETTLE;
    _tile_loadconfig(&tiles);
}

static void release(void) { _tile_release(); }

enum {
    MOST_ROWS = SIDE,
    FEW = 0,
    SQUARES_PAY = 0, /* products take less time than what it takes to have fewer */
};

static inline __attribute__((always_inline)) void multiply_form(const Product *p, const int first, const int a_tiles,
                                                                const int b_tiles, float *sums) {
    const size_t a_pitch = p->a_pitch * sizeof(bf16);
    const int two_a = a_tiles > 1, two_b = b_tiles > 1;
    SETTLE;
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, 64);
        if (two_b) _tile_loadd(1, sums + SUMS, 64);
        if (two_a) _tile_loadd(2, sums + 2 * SUMS, 64);
        if (two_a && two_b) _tile_loadd(3, sums + 3 * SUMS, 64);
    }
    for (const Run *run = p->runs; run < p->runs + p->n_runs; run++) {
        size_t a_at = run->a, b_at = run->b;
        for (int step = 0; step < p->steps; step++, a_at += p->a_step, b_at += TILE) {
            _tile_loadd(6, p->b[0] + b_at, 64);
            _tile_loadd(4, p->a[0] + a_at, a_pitch);
            if (two_a) _tile_loadd(5, p->a[1] + a_at, a_pitch);
            _tile_dpbf16ps(0, 4, 6);
            if (two_a) _tile_dpbf16ps(2, 5, 6);
            if (!two_b) continue;
            _tile_loadd(7, p->b[1] + b_at, 64);
            _tile_dpbf16ps(1, 4, 7);
            if (two_a) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, sums, 64);
    if (two_b) _tile_stored(1, sums + SUMS, 64);
    if (two_a) _tile_stored(2, sums + 2 * SUMS, 64);
    if (two_a && two_b) _tile_stored(3, sums + 3 * SUMS, 64);
}

/* Each form on its own: no branch is left between two instructions. */
static inline __attribute__((always_inline)) void multiply(const Product *p, int first, int a_tiles, int b_tiles,
                                                           float *sums) {
    switch (4 * first + 2 * (a_tiles - 1) + b_tiles - 1) {
#define CASE(first, a_tiles, b_tiles)                 \
    case 4 * first + 2 * (a_tiles - 1) + b_tiles - 1: \
        multiply_form(p, first, a_tiles, b_tiles, sums); \
        break;
        CASE(0, 1, 1) CASE(0, 1, 2) CASE(0, 2, 1) CASE(0, 2, 2) CASE(1, 1, 1) CASE(1, 1, 2) CASE(1, 2, 1) CASE(1, 2, 2)
#undef CASE
    }
}
