/* Layers in bfloat16 on a CPU's units for it, forwards and backwards, with the bias and the ReLU behind them: here
 * convolutions, in dense.h dense ones, in dot_squares.h convolutions with fewer products.
 *
 * A tile is 16 rows of 64 bytes, and all of it products of tiles that add A x B to C: A 16 x 32, B 32 x 16, stored as
 * 16 rows of pairs, and C 16 x 16 in float32:
 *   - a convolution: A 16 pixels next to each other by 32 channels, B the weights of one tap of the kernel;
 *   - the weights' gradient: A 16 channels of the one image by 32 pixels, B these pixels, shifted by a tap, by 16
 *     channels of the other.
 * Where the channels are so few that the whole kernel sees no more than 32 values, these are written out as if they
 * were the channels of one pixel, so that a kernel of one tap is left ("patches").
 */
#include "layout.h"
typedef uint16_t bf16, Number; /* that images consist of */
#include "run.h"
#include "weights.h"

enum {
    SIDE = 16,                /* of a tile of float32 */
    DEPTH = 32,               /* bfloat16 in a row of a tile */
    TILE = SIDE * DEPTH,      /* bfloat16 in a tile */
    SUMS = SIDE * SIDE,       /* float32 in a tile */
    SEGMENT = 16,             /* at most so many values in a row of a patch */
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
 * stay as they were. Of up to FEW written channels, a convolution is faster along the read ones. */
#ifdef __AMX_BF16__
#include "amx.h"
#else
#include "dots.h"
#endif

/* The same of as many tiles, one or two, as there are in so many rows and columns. */
static inline void multiply_some(const Product *p, int first, int rows, int columns, float *sums) {
    int a_tiles = rows > SIDE ? 2 : 1, b_tiles = columns > SIDE ? 2 : 1;
    switch (4 * first + 2 * (a_tiles - 1) + b_tiles - 1) {
#define CASE(first, a_tiles, b_tiles)                           \
    case 4 * first + 2 * (a_tiles - 1) + b_tiles - 1:           \
        multiply(p, first, a_tiles, b_tiles, sums);             \
        break;
        CASE(0, 1, 1) CASE(0, 1, 2) CASE(0, 2, 1) CASE(0, 2, 2) CASE(1, 1, 1) CASE(1, 1, 2) CASE(1, 2, 1) CASE(1, 2, 2)
#undef CASE
    }
}

/* 0 if the CPU has all that is used here. */
int request(void) { return has_lanes() && __builtin_cpu_supports("avx512bf16") ? request_units() : -1; }

static inline __mmask32 first32(int n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1; }
static inline __mmask16 first16(int n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

/* ---- images, made ready for tiles ---- */

/* 32 values: of the chosen, those whose mask is positive, where there is one. */
static inline __m512i values(const bf16 *x, const bf16 *mask, __mmask32 chosen) {
    if (mask) {
        __m512i seen = _mm512_maskz_loadu_epi16(chosen, mask);
        chosen = _mm512_mask_cmpgt_epi16_mask(chosen, seen, _mm512_setzero_si512());
    }
    return _mm512_maskz_loadu_epi16(chosen, x);
}

/* 16 of 32 values as float32. */
static inline __m512 first_half(__m512i x) {
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(x)), 16);
}
static inline __m512 second_half(__m512i x) {
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1)), 16);
}

/* Where the pixels of an image go: into rows of `columns`, behind a border that stays zero, `depth` values each. Of a
 * step of 2, say, they are dealt to 2 x 2 planes, by whether row and column are odd. */
typedef struct {
    int step, rows, columns, depth, top, left;
    size_t plane; /* its size in values */
} Grid;

/* sums [depth]: those of each channel are added to it, where it is given. */
static void stage(const bf16 *x, const bf16 *mask, int height, int width, int channels, const Grid *grid, bf16 *to,
                  float *sums) {
    int rows = least(height, grid->rows * grid->step - grid->top);
    int columns = least(width, grid->columns * grid->step - grid->left);
    for (int c = 0; c < grid->depth; c += DEPTH) {
        __mmask32 chosen = first32(channels - c);
        __m512 first_sums = _mm512_setzero_ps(), second_sums = first_sums;
        for (int y = 0; y < rows; y++)
            for (int phase = 0; phase < grid->step; phase++) {
                int first = (phase - grid->left % grid->step + grid->step) % grid->step;
                int i = y + grid->top, j = first + grid->left;
                bf16 *pixel = to + (size_t)(i % grid->step * grid->step + phase) * grid->plane + c +
                              ((size_t)(i / grid->step) * grid->columns + j / grid->step) * grid->depth;
                for (int v = first; v < columns; v += grid->step, pixel += grid->depth) {
                    size_t from = ((size_t)y * width + v) * channels + c;
                    __m512i value = values(x + from, mask ? mask + from : NULL, chosen);
                    _mm512_store_si512(pixel, value);
                    if (sums) {
                        first_sums = _mm512_add_ps(first_sums, first_half(value));
                        second_sums = _mm512_add_ps(second_sums, second_half(value));
                    }
                }
            }
        if (sums) {
            _mm512_storeu_ps(sums + c, _mm512_add_ps(_mm512_loadu_ps(sums + c), first_sums));
            _mm512_storeu_ps(sums + c + SIDE, _mm512_add_ps(_mm512_loadu_ps(sums + c + SIDE), second_sums));
        }
    }
}

static int has_patches(const Shape *s) {
    return s->kernel * s->channels <= SEGMENT && s->kernel * s->kernel * s->channels <= DEPTH;
}

typedef struct { int pitch; size_t size; } Padded;

static Padded padded(const Shape *s) {
    int pitch = (most(s->width + s->padding, (s->out_width - 1) * s->stride + s->kernel)) * s->channels + DEPTH;
    int rows = most(s->height + s->padding, (s->out_height - 1) * s->stride + s->kernel);
    return (Padded){pitch, up((size_t)rows * pitch + DEPTH, DEPTH)};
}

/* All that the kernel sees from an output pixel, as 32 values. `border` is zero around what is copied into it;
 * row_sums [width * channels, up to a multiple of 32] take up the image's rows, where given. */
static void write_patches(const bf16 *x, const bf16 *mask, const Shape *s, bf16 *border, bf16 *to, float *row_sums) {
    Padded p = padded(s);
    int length = s->width * s->channels, segment = s->kernel * s->channels;
    for (int y = 0; y < s->height; y++)
        for (int i = 0; i < length; i += DEPTH) {
            size_t from = (size_t)y * length + i;
            __m512i value = values(x + from, mask ? mask + from : NULL, first32(length - i));
            bf16 *row = border + (size_t)(y + s->padding) * p.pitch + s->padding * s->channels;
            _mm512_mask_storeu_epi16(row + i, first32(length - i), value);
            if (!row_sums) continue;
            float *sums = row_sums + i;
            _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), first_half(value)));
            _mm512_storeu_ps(sums + SIDE, _mm512_add_ps(_mm512_loadu_ps(sums + SIDE), second_half(value)));
        }
    __mmask16 chosen = first16(segment);
    for (int u = 0; u < s->out_height; u++)
        for (int v = 0; v < s->out_width; v++, to += DEPTH) {
            const bf16 *from = border + (size_t)u * s->stride * p.pitch + (size_t)v * s->stride * s->channels;
            for (int i = 0; i < s->kernel; i++)
                _mm256_mask_storeu_epi16(to + i * segment, chosen,
                                         _mm256_maskz_loadu_epi16(chosen, from + (size_t)i * p.pitch));
        }
}

/* The next images are asked for in so many shares, while tiles work. */
static void divide(Ahead *a, int shares) {
    for (int i = 0; i < STREAMS; i++) a->share[i] = up((a->end[i] - a->at[i]) / shares + 1, 64);
}

static inline void fetch(Ahead *a) {
    for (int i = 0; i < STREAMS; i++) {
        const char *to = a->at[i] + a->share[i] < a->end[i] ? a->at[i] + a->share[i] : a->end[i];
        for (; a->at[i] < to; a->at[i] += 64) _mm_prefetch(a->at[i], _MM_HINT_T1);
    }
}

/* 16 x 16 words of 32 bits. */
static inline void transpose_words(__m512i r[SIDE]) {
    __m512i t[SIDE];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int h = 0; h < 16; h += 8)
        for (int i = 0; i < 4; i++) {
            t[h + i] = _mm512_shuffle_i32x4(r[h + i], r[h + i + 4], 0x88);
            t[h + i + 4] = _mm512_shuffle_i32x4(r[h + i], r[h + i + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* Two rows of 16 values as one of pairs. */
static const uint16_t in_pairs[DEPTH] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                         8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

/* A tile of weights, up to 32 read by 16 written ones, that lie so far apart. */
static void pack_tile(const float *from, int64_t read, int64_t written, int n_read, int n_written, bf16 *to) {
    __m512i r[SIDE], order = _mm512_loadu_si512(in_pairs);
    int along_read = read == 1;
    float gathered[TILE];
    if (read != 1 && written != 1) {
        for (int i = 0; i < least(n_read, DEPTH); i++)
            for (int j = 0; j < least(n_written, SIDE); j++) gathered[i * SIDE + j] = from[i * read + j * written];
        from = gathered, read = SIDE, written = 1;
    }
    for (int i = 0; i < SIDE; i++) { /* of a row, its 32 read ones; or of two rows, the 16 written ones of each */
        const float *first = from + (along_read ? i * written : 2 * i * read);
        const float *second = first + (along_read ? SIDE : read);
        int n_first = along_read ? (i < n_written ? n_read : 0) : 2 * i < n_read ? n_written : 0;
        int n_second = along_read ? n_first - SIDE : 2 * i + 1 < n_read ? n_written : 0;
        __m512 low = _mm512_maskz_loadu_ps(first16(n_first), first);
        __m512 high = _mm512_maskz_loadu_ps(first16(n_second), second);
        r[i] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    }
    if (along_read) transpose_words(r);
    for (int i = 0; i < SIDE; i++, to += DEPTH)
        _mm512_store_si512(to, along_read ? r[i] : _mm512_permutexvar_epi16(order, r[i]));
}

/* `count` of 16 weights, of read channels one after another from q on, to where they lie. */
static inline void put_row(__m512 values, float *to, const Weights *w, const Shape *s, int as_patches, int tap,
                               int q, int count) {
    if (!as_patches && w->read == 1) {
        _mm512_mask_storeu_ps((float *)at_tap(to, w, s->kernel, tap) + q, first16(count), values);
        return;
    }
    float each[SIDE];
    _mm512_storeu_ps(each, values);
    for (int i = 0; i < count; i++) {
        if (as_patches) tap = (q + i) / s->channels;
        int channel = as_patches ? (q + i) % s->channels : q + i;
        ((float *)at_tap(to, w, s->kernel, tap))[channel * w->read] = each[i];
    }
}

#ifndef __AMX_BF16__
#include "dot_squares.h"
#endif

/* ---- convolution ---- */

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
            const float *from = at_tap(first, w, s->kernel, v / s->channels) + v % s->channels * w->read;
            for (int m = 0; m < count; m++) patch[v * SIDE + m] = from[m * w->written];
        }
        pack_tile(patch, SIDE, 1, taps * s->channels, count, to);
        return;
    }
    for (int tap = 0; tap < taps; tap++)
        for (int r = 0; r < s->channels; r += DEPTH, to += TILE)
            pack_tile(at_tap(first, w, s->kernel, tap) + r * w->read, w->read, w->written, s->channels - r, count, to);
}

/* Sums [rows][16], of 32 channels if `second` is given, as what the layer returns; pixels lie `pitch` values apart. */
static inline void put(const float *first, const float *second, const float *bias, int relu, int rows, int channels,
                       bf16 *to, size_t pitch) {
    const __m512 least_value = relu ? _mm512_setzero_ps() : _mm512_set1_ps(-__builtin_inff());
    __m512 bias0 = _mm512_loadu_ps(bias), bias1 = _mm512_loadu_ps(bias + SIDE);
    __mmask32 chosen = first32(channels);
    if (!second) chosen &= 0xffff;
    for (int r = 0; r < rows; r++) {
        /* max(a, b) is b where a is not a number: what is not one stays so */
        __m512 y0 = _mm512_max_ps(least_value, _mm512_add_ps(_mm512_load_ps(first + r * SIDE), bias0));
        __m512 y1 = _mm512_setzero_ps();
        if (second) y1 = _mm512_max_ps(least_value, _mm512_add_ps(_mm512_load_ps(second + r * SIDE), bias1));
        _mm512_mask_storeu_epi16(to + r * pitch, chosen, (__m512i)_mm512_cvtne2ps_pbh(y1, y0));
    }
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
        const float *tap = at_tap(p->work.weights, w, s->kernel, p->layout.taps[t].weights) + o * w->written;
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
#ifndef __AMX_BF16__ /* whose products take less time than what it takes to have fewer */
    if (!transposed && is_winograd(s)) return run_squares(asked);
#endif
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

/* ---- the weights' gradient ---- */

/* Pixels [pixels][depth] as A: [channels / 16][pixels / 32] tiles, each [16 channels][32 pixels]. */
static void turn(const bf16 *pixels, int count, int depth, int tiles, bf16 *to) {
    for (int c = 0; c < tiles; c++)
        for (int q = 0; q < count; q += DEPTH) {
            __m512i r[SIDE];
            const bf16 *from = pixels + (size_t)q * depth + c * SIDE;
            for (int i = 0; i < SIDE; i++, from += 2 * depth) {
                __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
                __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(from + depth)));
                r[i] = _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
            }
            transpose_words(r);
            for (int i = 0; i < SIDE; i++, to += DEPTH) _mm512_store_si512(to, r[i]);
        }
}

/* Pixels [2 * pairs + 2][depth] as B: [channels / 16][pairs][16][2]; `even` has pairs (0, 1), (2, 3) ...,
 * `odd`, where it is given, (1, 2), (3, 4) ...: a tile may begin at any pixel. */
static void couple(const bf16 *pixels, int pairs, int depth, bf16 *even, bf16 *odd) {
    uint16_t orders[2][32];
    for (int i = 0; i < 64; i++) orders[i / 32][i % 32] = (uint16_t)(i / 2 + i % 2 * 32);
    __m512i first = _mm512_loadu_si512(orders[0]), second = _mm512_loadu_si512(orders[1]);
    size_t next = (size_t)pairs * DEPTH;
    for (int c = 0; c < depth; c += DEPTH, even += 2 * next, odd += odd ? 2 * next : 0) {
        const bf16 *from = pixels + c;
        __m512i a = _mm512_load_si512(from);
        for (int pair = 0; pair < pairs; pair++, from += 2 * depth) {
            __m512i b = _mm512_load_si512(from + depth), d = _mm512_load_si512(from + 2 * depth);
            _mm512_store_si512(even + (size_t)pair * DEPTH, _mm512_permutex2var_epi16(a, first, b));
            _mm512_store_si512(even + next + (size_t)pair * DEPTH, _mm512_permutex2var_epi16(a, second, b));
            if (odd) {
                _mm512_store_si512(odd + (size_t)pair * DEPTH, _mm512_permutex2var_epi16(b, first, d));
                _mm512_store_si512(odd + next + (size_t)pair * DEPTH, _mm512_permutex2var_epi16(b, second, d));
            }
            a = d;
        }
    }
}

typedef struct {
    Work work;
    int as_patches, kernel, step, parities; /* 2 where pixels are paired anew for odd shifts */
    int pixels, pairs, x_values, g_tiles;   /* of g; of a plane of x; in a pixel of x; of the channels of g */
    Grid grid, g_grid;
} Gradient;

static void add_gradient(const void *plan, Image *image) {
    const Gradient *p = plan;
    const Shape *s = &p->work.shape;
    int taps = p->kernel * p->kernel, planes = p->step * p->step, depth = p->grid.depth, g_depth = p->g_grid.depth;
    int g_twos = g_depth / DEPTH, x_twos = depth / DEPTH;
    size_t x_tile = (size_t)p->pairs * DEPTH, x_plane = 2 * x_twos * x_tile, g_tile = (size_t)p->pixels * SIDE;
    bf16 *staged = image->memory, *g_staged = staged + planes * p->grid.plane;
    bf16 *border = g_staged + p->g_grid.plane, *x_tiles = staged + p->work.zeroed;
    bf16 *g_turned = x_tiles + p->parities * planes * x_plane;
    const bf16 *x = image->read[X], *x_mask = image->read[X_MASK];
    if (p->as_patches) write_patches(x, x_mask, s, border, staged, image->x_sums);
    else stage(x, x_mask, s->height, s->width, s->channels, &p->grid, staged, image->x_sums);
    stage(image->read[G], image->read[G_MASK], s->out_height, s->out_width, s->out_channels, &p->g_grid, g_staged,
          image->g_sums);
    for (int plane = 0; plane < planes; plane++) {
        bf16 *even = x_tiles + plane * x_plane;
        bf16 *odd = plane % p->step + p->step < p->kernel ? even + planes * x_plane : NULL;
        couple(staged + plane * p->grid.plane, p->pairs, depth, even, odd);
    }
    turn(g_staged, p->pixels, g_depth, p->g_tiles, g_turned);

    Product product = {.rows = SIDE, .pairs = SIDE, .n_runs = 1, .steps = p->pixels / DEPTH, .a_pitch = DEPTH,
                       .a_step = TILE, .runs = &(Run){0, 0}};
    divide(&image->next, g_twos * x_twos * taps);
    if (!image->configured) configure(image->configured = SIDE);
    for (int two = 0; two < g_twos; two++)
        for (int c = 0; c < x_twos; c++)
            for (int n = 0; n < p->parities * taps; n++) { /* first all that reads one half of the pairs */
                int tap = n % taps, i = tap / p->kernel, j = tap % p->kernel;
                int plane = i % p->step * p->step + j % p->step;
                int shift = i / p->step * p->grid.columns + j / p->step;
                if (shift % 2 != n / taps) continue;
                const bf16 *a = g_turned + two * 2 * g_tile;
                const bf16 *b = x_tiles + (shift % 2 * planes + plane) * x_plane + c * 2 * x_tile + shift / 2 * DEPTH;
                float *to = image->sums + (((size_t)two * x_twos + c) * taps + tap) * 4 * SUMS;
                fetch(&image->next);
                product.a[0] = a, product.a[1] = a + g_tile, product.b[0] = b, product.b[1] = b + x_tile;
                multiply_some(&product, 0, s->out_channels - two * DEPTH, p->x_values - c * DEPTH, to);
            }
    if (image->is_last) release();
}

/* The threads' sums for one channel of g. */
static void put_gradient(const void *plan, int o, const float *sums, size_t next, int team) {
    const Gradient *p = plan;
    const Shape *s = &p->work.shape;
    int taps = p->kernel * p->kernel, values_read = s->channels * (p->as_patches ? s->kernel * s->kernel : 1);
    float *to = p->work.gradient + o * p->work.w.written;
    for (int t = 0; t < taps; t++)
        for (int q = 0; q < values_read; q += SIDE) {
            size_t tile = (((size_t)(o / DEPTH) * (p->grid.depth / DEPTH) + q / DEPTH) * taps + t) * 4;
            tile += o % DEPTH / SIDE * 2 + q % DEPTH / SIDE;
            const float *from = sums + tile * SUMS + o % SIDE * SIDE;
            __m512 sum = _mm512_load_ps(from);
            for (int i = 1; i < team; i++) sum = _mm512_add_ps(sum, _mm512_load_ps(from + i * next));
            put_row(sum, to, &p->work.w, s, p->as_patches, t, q, least(SIDE, values_read - q));
        }
}

static int run_gradient(const Work *asked) {
    const Shape *s = &asked->shape;
#ifndef __AMX_BF16__
    if (is_winograd(s)) return run_squares_gradient(asked);
#endif
    int as_patches = has_patches(s), kernel = as_patches ? 1 : s->kernel, step = as_patches ? 1 : s->stride;
    int padding = as_patches ? 0 : s->padding, taps = kernel * kernel, planes = step * step;
    /* Both grids have rows of the same length, so that a tap is a shift of one against the other. */
    int reach = (kernel - 1) / step, parities = reach > 0 ? 2 : 1;
    int rows = most(s->out_height + reach, (s->height + padding + step - 1) / step);
    int columns = (int)up(most(s->out_width + reach, (s->width + padding + step - 1) / step), parities);
    if (as_patches) rows = s->out_height, columns = s->out_width;
    int pixels = (int)up((size_t)s->out_height * columns, DEPTH);
    int pairs = (int)up(most(rows * columns, pixels + reach * columns + reach), 2) / 2 + 1;
    int depth = as_patches ? DEPTH : (int)up(s->channels, DEPTH), g_depth = (int)up(s->out_channels, DEPTH);
    int x_values = s->channels * (as_patches ? s->kernel * s->kernel : 1);
    Gradient p = {*asked, as_patches, kernel, step, parities,
                  pixels, pairs, x_values, (int)up(s->out_channels, SIDE) / SIDE,
                  {step, rows, columns, depth, padding, padding, (size_t)(2 * pairs + 2) * depth},
                  {1, s->out_height, columns, g_depth, 0, 0, (size_t)pixels * g_depth}};
    /* A thread's memory: both images on their grids and the border of the patches, which begin as zeros; then tiles. */
    Work *work = &p.work;
    work->zeroed = planes * p.grid.plane + p.g_grid.plane + (as_patches ? padded(s).size : 0);
    work->memory = work->zeroed + (size_t)parities * planes * pairs * 2 * depth + (size_t)p.g_tiles * pixels * SIDE;
    /* Its sums: of the tiles, two by two; of each value in a row of x, or in a pixel; of each in a pixel of g. */
    work->sums = (size_t)g_depth / DEPTH * (depth / DEPTH) * taps * 4 * SUMS;
    work->x_line.width = as_patches ? s->width : 1, work->x_line.depth = as_patches ? s->channels : depth;
    work->g_line.width = 1, work->g_line.depth = g_depth;
    work->compute = add_gradient, work->pieces_after = s->out_channels, work->finish = put_gradient;
    return run(work);
}

#include "dense.h"
