/* Layers in bfloat16 on a CPU's units for it, forwards and backwards, with the bias and the ReLU behind them. All of it
 * is products of tiles. Where the channels of a convolution are so few that the whole kernel sees no more than 32
 * values, these are written out as if they were the channels of one pixel, so that a kernel of one tap is left
 * ("patches").
 */
#include "layout.h"
typedef uint16_t bf16, Number; /* that images consist of */
#include "run.h"
#include "weights.h"

#include "tiles.h"

#include "images.h"
#include "packing.h"

#include "dot_squares.h"
#include "tile_convolution.h"
#include "tile_gradient.h"

#include "dense.h"

/* Whether a convolution's gradient is found sooner of that to its input, whose shape this is. */
int is_better_turned(const Shape *s) { return has_patches(s); }

/* 0 if the CPU has all that is used here. */
int request(void) { return has_lanes() && __builtin_cpu_supports("avx512bf16") ? request_units() : -1; }
