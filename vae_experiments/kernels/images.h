/* Images, made ready for tiles: on grids with a border, or as patches; as A and as B of the weights' gradient. */

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

enum { SEGMENT = 16 }; /* at most so many values in a row of a patch */

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
