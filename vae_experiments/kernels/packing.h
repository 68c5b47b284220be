/* Weights as tiles, and tiles of sums as what a layer returns. */

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
        _mm512_mask_storeu_ps(to + tap_at(w, s->kernel, tap) + q, first16(count), values);
        return;
    }
    float each[SIDE];
    _mm512_storeu_ps(each, values);
    for (int i = 0; i < count; i++) {
        if (as_patches) tap = (q + i) / s->channels;
        int channel = as_patches ? (q + i) % s->channels : q + i;
        to[tap_at(w, s->kernel, tap) + channel * w->read] = each[i];
    }
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
