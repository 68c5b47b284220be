/* What all kernels do alike, whatever their arithmetic: how threads share a batch, and where they find memory.
 *
 * First, the threads make ready what all of them read (the weights, packed), in pieces. Then each computes its part of
 * the batch, image after image. At the end, what each has summed meanwhile (the weights' gradient) is added up, again
 * in pieces. The same number of threads gives the same bits.
 *
 * Whoever includes this has said what images consist of, by a type `Number`.
 */
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>

enum { DONE, NO_MEMORY };

/* A thread's memory from call to call, never shrunk; freed with the thread. */
static pthread_key_t memory_key;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;
static void make_key(void) { pthread_key_create(&memory_key, free); }
static void *scratch(size_t bytes) {
    static _Thread_local size_t size;
    pthread_once(&memory_once, make_key);
    void *memory = pthread_getspecific(memory_key);
    if (size < bytes) {
        free(memory);
        memory = aligned_alloc(64, up(bytes, 64));
        if (memory && pthread_setspecific(memory_key, memory) != 0) free(memory), memory = NULL;
        if (!memory) pthread_setspecific(memory_key, NULL);
        size = memory ? bytes : 0;
    }
    return memory;
}

/* What is read: the images, the gradient of those that are written, and what either is masked by; what is written. */
enum { X, X_MASK, G, G_MASK, READ, Y = READ, STREAMS };

/* The thread's next images, read and written, which are to be in the cache before they are needed: a CPU reads a line
 * of memory before it writes to it. Kernels ask for them one after another (`which`), or a share of each at a time. */
typedef struct { const char *at[STREAMS], *end[STREAMS]; size_t share[STREAMS]; int which; } Ahead;

/* Where to ask for so many bytes; past all images, anywhere. */
static inline const char *advance(Ahead *a, int bytes) {
    while (a->which < STREAMS && a->at[a->which] >= a->end[a->which]) a->which++;
    if (a->which == STREAMS) return (const char *)a;
    return (a->at[a->which] += bytes) - bytes;
}

/* One image, and what its thread has. */
typedef struct {
    const Number *read[READ]; /* NULL what is not there */
    Number *y, *memory;
    float *sums, *x_sums, *g_sums; /* of all its images so far; x_sums and g_sums NULL unless asked for */
    Ahead next;
    int index, is_last, configured; /* `configured` is 0 with a thread's first image, then as it was left */
} Image;

/* The sums over all pixels of each channel, where they are asked for. A thread keeps them of so many pixels next to
 * each other, of so many values each. */
typedef struct { float *to; int width, depth; } Line;

/* What is asked for, and how it is done. The kernels' plans begin with it: they are what the functions are given. */
typedef struct {
    Shape shape;
    int relu, threads;
    const Number *read[READ]; /* of all images */
    Number *y;
    const float *weights, *bias;
    float *gradient; /* of the weights */
    Weights w;
    Line x_line, g_line;
    void *tables;                /* what all threads read, freed at the end */
    size_t memory, zeroed, sums; /* numbers that a thread's memory has, the first ones zero, and its sums */
    int pieces_before, pieces_after;
    void (*prepare)(const void *plan, int piece);
    void (*compute)(const void *plan, Image *);
    void (*finish)(const void *plan, int piece, const float *sums, size_t next, int team); /* they lie `next` apart */
} Work;

/* So many biases; zero those that are not given. */
static void copy_biases(const Work *work, int count, float *to) {
    for (int c = 0; c < count; c++) to[c] = work->bias && c < work->shape.out_channels ? work->bias[c] : 0;
}

static size_t line_size(const Line *line) { return line->to ? up((size_t)line->width * line->depth, 32) : 0; }

static void fold(const Line *line, const float *sums, size_t next, int team, int channels) {
    if (!line->to) return;
    memset(line->to, 0, channels * sizeof(float));
    for (int thread = 0; thread < team; thread++, sums += next)
        for (int v = 0; v < line->width; v++)
            for (int c = 0; c < channels; c++) line->to[c] += sums[v * line->depth + c];
}

static void compute_image(const Work *work, int n, int last, Image *image) {
    const Shape *s = &work->shape;
    size_t x_size = (size_t)s->height * s->width * s->channels;
    size_t y_size = (size_t)s->out_height * s->out_width * s->out_channels;
    image->index = n, image->is_last = n == last, image->next.which = X;
    for (int i = 0; i < READ; i++) {
        if (!work->read[i]) continue;
        size_t size = i < G ? x_size : y_size;
        image->read[i] = work->read[i] + n * size;
        image->next.at[i] = (const char *)(image->read[i] + size);
        image->next.end[i] = (const char *)(image->read[i] + (image->is_last ? 1 : 2) * size);
    }
    if (work->y) {
        image->y = work->y + n * y_size;
        image->next.at[Y] = (const char *)(image->y + y_size);
        image->next.end[Y] = (const char *)(image->y + (image->is_last ? 1 : 2) * y_size);
    }
    work->compute(work, image);
}

/* NO_MEMORY if a thread finds none: then what is written means nothing. */
static int run(const Work *work) {
    size_t x_at = work->sums, g_at = x_at + line_size(&work->x_line), all_sums = g_at + line_size(&work->g_line);
    float *sums = aligned_alloc(64, up(all_sums * work->threads * sizeof(float) + 1, 64));
    int failed = !sums;
#pragma omp parallel num_threads(work->threads) reduction(| : failed) if (sums)
    {
        int thread = omp_get_thread_num(), team = omp_get_num_threads(), part = (work->shape.batch + team - 1) / team;
        Number *memory = scratch(work->memory * sizeof(Number));
        failed |= !memory || !sums;
        if (work->prepare) {
#pragma omp for schedule(static)
            for (int piece = 0; piece < work->pieces_before; piece++)
                if (!failed) work->prepare(work, piece);
        }
        if (!failed) {
            float *own = sums + thread * all_sums;
            Image image = {.memory = memory, .sums = own};
            if (work->x_line.to) image.x_sums = own + x_at;
            if (work->g_line.to) image.g_sums = own + g_at;
            memset(own, 0, all_sums * sizeof(float));
            memset(memory, 0, work->zeroed * sizeof(Number));
            int last = least((thread + 1) * part, work->shape.batch) - 1;
            for (int n = thread * part; n <= last; n++) compute_image(work, n, last, &image);
        }
        if (work->finish) {
#pragma omp barrier
#pragma omp for schedule(static) nowait
            for (int piece = 0; piece < work->pieces_after; piece++)
                if (!failed) work->finish(work, piece, sums, all_sums, team);
#pragma omp single nowait
            if (!failed) {
                fold(&work->x_line, sums + x_at, all_sums, team, work->shape.channels);
                fold(&work->g_line, sums + g_at, all_sums, team, work->shape.out_channels);
            }
        }
    }
    free(sums), free(work->tables);
    return failed ? NO_MEMORY : DONE;
}

/* ---- what the libraries offer ---- */

/* How they do it: a plan of what is asked for, which they `run`. */
static int run_convolution(const Work *asked, int transposed);
static int run_gradient(const Work *asked);

/* y = relu(convolution(x where mask > 0) + bias); mask and bias may be NULL. Transposed: its adjoint, which takes
 * images of `out_*` to those of `height`, `width` in PyTorch's terms; here, too, x has `height` and y `out_height`.
 *
 * A gradient that comes from behind a ReLU is taken through it as it is read: `mask` is what the ReLU returned, and
 * only where that is positive counts the gradient. */
int convolve(const Number *x, const Number *mask, const float *weights, const Weights *w, const float *bias, Number *y,
             const Shape *s, int transposed, int relu, int threads) {
    Work asked = {*s, relu, threads, {x, mask}, y, weights, bias, .w = *w};
    return run_convolution(&asked, transposed);
}

/* The gradient of the weights of the convolution of x whose output's gradient is g, into `result`; and the sums over
 * all pixels of each channel of x and of g, where asked for. Masks may be NULL. */
int gradient(const Number *x, const Number *x_mask, const Number *g, const Number *g_mask, float *result,
             const Weights *w, float *x_sums, float *g_sums, const Shape *s, int threads) {
    Work asked = {*s, 0, threads, {x, x_mask, g, g_mask}, .gradient = result, .w = *w};
    asked.x_line.to = x_sums, asked.g_line.to = g_sums;
    return run_gradient(&asked);
}
