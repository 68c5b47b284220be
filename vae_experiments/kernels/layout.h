/* What the kernels for all number formats share: where pixels and weights lie.
 *
 * Images lie as [batch][height][width][channels] (PyTorch: channels_last). A kernel is square, and strided and padded
 * alike in both directions. Weights, biases and their gradients are float32, as are all sums.
 *
 * The adjoint of a convolution (a transposed convolution, or the gradient of a convolution's input) is one with other
 * taps: of a stride s, each of the s * s classes of output pixels has its own.
 */
#pragma once
#include <stdint.h>
#include <string.h>

enum { MOST_KERNEL = 11, MOST_TAPS = MOST_KERNEL * MOST_KERNEL };

typedef struct {
    int batch;
    int height, width, channels;             /* of the images that are read */
    int out_height, out_width, out_channels; /* of those that are written; in `gradient`, of the gradient */
    int kernel, stride, padding;
} Shape;

static inline size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }

/* The size of equal parts of n, none larger than that. */
static inline int equal_part(int n, int largest) {
    int parts = most((n + largest - 1) / largest, 1);
    return most((n + parts - 1) / parts, 1);
}

/* Where a weight lies: at `read` channels, `written` channels, rows and columns of the kernel, in float32. */
typedef struct { int64_t read, written, row, column; int turned; } Weights;

/* Of a kernel's taps, row by row, where that one's weights begin. */
static inline int64_t tap_at(const Weights *w, int kernel, int tap) {
    int i = tap / kernel, j = tap % kernel;
    if (w->turned) i = kernel - 1 - i, j = kernel - 1 - j;
    return i * w->row + j * w->column;
}

/* A pixel that a tap leads to from an output pixel, and its weights. */
typedef struct { int weights, y, x; } Tap;

/* Output pixels (row, column) + out_step * (u, v), with u and v up to rows and columns, that the same taps lead from:
 * to the pixels (y, x) + in_step * (u, v), in images with a border of zeros. */
typedef struct { int first_tap, last_tap, row, column, rows, columns; } Class;

typedef struct {
    int in_step, out_step;
    int rows, columns, top, left; /* of an image with its border, and how wide that is above it and to its left */
    int n_taps, n_classes;
    Tap taps[MOST_TAPS];
    Class classes[MOST_TAPS];
} Layout;

static inline void lay_out(Layout *l, const Shape *s, int transposed) {
    int top = 0, left = 0, bottom = 0, right = 0, n_taps = 0, step = transposed ? s->stride : 1;
    l->in_step = transposed ? 1 : s->stride, l->out_step = step, l->n_classes = 0;
    for (int a = 0; a < least(step, s->out_height); a++)
        for (int b = 0; b < least(step, s->out_width); b++) {
            int rows = (s->out_height - a + step - 1) / step, columns = (s->out_width - b + step - 1) / step;
            Class class = {n_taps, 0, a, b, rows, columns};
            for (int tap = 0; tap < s->kernel * s->kernel; tap++) {
                int y = tap / s->kernel - s->padding, x = tap % s->kernel - s->padding;
                if (transposed) {
                    y = a - y, x = b - x;
                    if (y % step || x % step) continue;
                    y /= step, x /= step;
                }
                l->taps[n_taps++] = (Tap){tap, y, x};
                top = most(top, -y), left = most(left, -x);
                bottom = most(bottom, (rows - 1) * l->in_step + y + 1);
                right = most(right, (columns - 1) * l->in_step + x + 1);
            }
            class.last_tap = n_taps;
            l->classes[l->n_classes++] = class;
        }
    for (int t = 0; t < n_taps; t++) l->taps[t].y += top, l->taps[t].x += left;
    l->n_taps = n_taps, l->rows = bottom + top, l->columns = right + left, l->top = top, l->left = left;
}
