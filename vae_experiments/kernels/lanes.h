/* Vectors of float32, as wide as the CPU has them. */
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum {
#ifdef __AVX512F__
    LANES = 16,
#else
    LANES = 8,
#endif
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

static inline vector load_first(int count, const float *from) {
    if (count >= LANES) return load(from);
    vector values = {0};
    if (count > 0) memcpy(&values, from, count * sizeof(float));
    return values;
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

/* Whether the CPU has all that is used for them. */
static int has_lanes(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("fma")) return 0;
#ifdef __AVX512F__
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq")) return 0;
    return __builtin_cpu_supports("avx512vl") != 0;
#else
    return __builtin_cpu_supports("avx2") != 0;
#endif
}
