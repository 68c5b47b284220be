/* Winograd's minimal filtering, F(2 x 2, 3 x 3) (Lavin and Gray 2016): of a kernel of 3 x 3 with a stride of 1, each
 * square of 2 x 2 output pixels takes 16 products instead of 36.
 *
 * The 4 x 4 pixels d that a square sees become v = B' d B, a kernel w becomes u = G w G', and what comes out is
 * A' (v * u) A. The weights' gradient is the same read backwards: G' (v * (A g A')) G. All squares and channels
 * together make 16 products of matrices, one for each place in 4 x 4. What is not a number, or infinite, may make all
 * of the squares so that see it.
 */
#include "weights.h"

enum { PLACES = 16 };

static int is_winograd(const Shape *s) {
    return s->kernel == 3 && s->stride == 1 && s->channels >= LANES && s->out_channels >= LANES;
}

/* B' d B. */
static inline __attribute__((always_inline)) void see(const vector d[4][4], vector v[4][4]) {
    vector t[4][4];
    for (int j = 0; j < 4; j++) {
        t[0][j] = d[0][j] - d[2][j], t[1][j] = d[1][j] + d[2][j];
        t[2][j] = d[2][j] - d[1][j], t[3][j] = d[1][j] - d[3][j];
    }
    for (int i = 0; i < 4; i++) {
        v[i][0] = t[i][0] - t[i][2], v[i][1] = t[i][1] + t[i][2];
        v[i][2] = t[i][2] - t[i][1], v[i][3] = t[i][1] - t[i][3];
    }
}

/* G w G', of the taps row by row. */
static inline __attribute__((always_inline)) void turn_kernel(const vector w[9], vector u[4][4]) {
    vector t[4][3];
    for (int j = 0; j < 3; j++) {
        t[0][j] = w[j], t[3][j] = w[6 + j];
        t[1][j] = (w[j] + w[3 + j] + w[6 + j]) / 2, t[2][j] = (w[j] - w[3 + j] + w[6 + j]) / 2;
    }
    for (int i = 0; i < 4; i++) {
        u[i][0] = t[i][0], u[i][3] = t[i][2];
        u[i][1] = (t[i][0] + t[i][1] + t[i][2]) / 2, u[i][2] = (t[i][0] - t[i][1] + t[i][2]) / 2;
    }
}

/* A' m A. */
static inline __attribute__((always_inline)) void leave(const vector m[4][4], vector y[2][2]) {
    vector t[2][4];
    for (int j = 0; j < 4; j++) t[0][j] = m[0][j] + m[1][j] + m[2][j], t[1][j] = m[1][j] - m[2][j] - m[3][j];
    for (int i = 0; i < 2; i++) y[i][0] = t[i][0] + t[i][1] + t[i][2], y[i][1] = t[i][1] - t[i][2] - t[i][3];
}

/* A g A'. */
static inline __attribute__((always_inline)) void spread(const vector g[2][2], vector t[4][4]) {
    vector r[4][2];
    for (int j = 0; j < 2; j++) {
        r[0][j] = g[0][j], r[1][j] = g[0][j] + g[1][j], r[2][j] = g[0][j] - g[1][j], r[3][j] = -g[1][j];
    }
    for (int i = 0; i < 4; i++) {
        t[i][0] = r[i][0], t[i][1] = r[i][0] + r[i][1], t[i][2] = r[i][0] - r[i][1], t[i][3] = -r[i][1];
    }
}

/* G' u G, as taps row by row. */
static inline __attribute__((always_inline)) void turn_back(const vector u[4][4], vector w[9]) {
    vector r[3][4];
    for (int j = 0; j < 4; j++) {
        vector half = (u[1][j] + u[2][j]) / 2;
        r[0][j] = u[0][j] + half, r[1][j] = (u[1][j] - u[2][j]) / 2, r[2][j] = half + u[3][j];
    }
    for (int i = 0; i < 3; i++) {
        vector half = (r[i][1] + r[i][2]) / 2;
        w[3 * i] = r[i][0] + half, w[3 * i + 1] = (r[i][1] - r[i][2]) / 2, w[3 * i + 2] = half + r[i][3];
    }
}

/* The squares of an image, and how large x is, with its border, for all of them to see. */
typedef struct { int rows, columns, all, x_rows, x_columns; } Tiling;
static inline Tiling tiled(const Shape *s) {
    int rows = (s->out_height + 1) / 2, columns = (s->out_width + 1) / 2;
    return (Tiling){rows, columns, rows * columns, most(2 * rows + 2, s->padding + s->height),
                    most(2 * columns + 2, s->padding + s->width)};
}

/* The kernels of so many read by so many written channels, turned: [place][read][written, filled up], places `next`
 * apart. */
static inline void turn_kernels(const float *from, const Weights *w, int n_read, int n_written, float *to,
                                size_t next) {
    int size = n_read * (int)up(n_written, LANES);
    float kernels[9][size];
    for (int tap = 0; tap < 9; tap++) get_weights(from + tap_at(w, 3, tap), w, n_read, n_written, kernels[tap]);
    for (int i = 0; i < size; i += LANES) {
        vector taps[9], u[4][4];
        for (int tap = 0; tap < 9; tap++) taps[tap] = load(kernels[tap] + i);
        turn_kernel(taps, u);
        for (int place = 0; place < PLACES; place++) store(to + place * next + i, u[place / 4][place % 4]);
    }
}
