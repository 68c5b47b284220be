/* Weights, from where they lie to rows of written channels. */
#pragma once
#include "lanes.h"
#include "layout.h"

/* LANES x LANES values: halves of rows change places with halves of others, then quarters, ... */
static inline void transpose(vector r[LANES]) {
    integers lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = i;
#pragma GCC unroll 4
    for (int part = LANES / 2; part > 0; part /= 2) {
        integers odd = (lanes & part) != 0;
        integers first = lanes + (odd & (LANES - part)), second = lanes + part + (odd & (LANES - part));
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
            if (i & part) continue;
            vector a = r[i], b = r[i + part];
            r[i] = __builtin_shuffle(a, b, first), r[i + part] = __builtin_shuffle(a, b, second);
        }
    }
}

/* The weights of so many read by so many written channels, in rows of the latter, filled up with zeros. */
static inline void get_weights(const float *from, const Weights *w, int n_read, int n_written, float *to) {
    int width = (int)up(n_written, LANES);
    if (w->read != 1) {
        for (int c = 0; c < n_read; c++, from += w->read, to += width)
            if (w->written != 1) for (int n = 0; n < width; n++) to[n] = n < n_written ? from[n * w->written] : 0;
            else for (int n = 0; n < width; n += LANES) store(to + n, load_first(n_written - n, from + n));
        return;
    }
    for (int c = 0; c < n_read; c += LANES)
        for (int n = 0; n < width; n += LANES) {
            vector r[LANES];
            for (int i = 0; i < LANES; i++)
                r[i] = load_first(n + i < n_written ? n_read - c : 0, from + c + (n + i) * w->written);
            transpose(r);
            for (int i = 0; i < least(LANES, n_read - c); i++) store(to + (size_t)(c + i) * width + n, r[i]);
        }
}
