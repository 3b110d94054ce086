/* Convolution as a product: a row is an output pixel, its elements are the inputs under the kernel,
   tap by tap and in each tap channel by channel. */
#include <string.h>

#include "kernels/cpu/library.h"
#include "kernels/cpu/matrix.h"

enum { SMALL_SHUFFLE = 16384 }; /* values that are not worth waking other threads for */

/* Where the kernel lies and what it reads. */
struct window {
    const struct wf_tensor *x;
    int64_t taps_h, taps_w;               /* of the kernel */
    int64_t before_t, before_h, before_w; /* padding */
    int64_t stride_t, stride_hw;
    int64_t width; /* output pixels in a line */
};

static const void *tap_source(const struct window *win, int64_t t, int64_t h, int64_t w, int64_t c)
{
    const struct wf_tensor *x = win->x;
    if (t < 0 || t >= x->dim[0] || h < 0 || h >= x->dim[1] || w < 0 || w >= x->dim[2])
        return NULL;
    return wf_at(x, t * x->stride[0] + h * x->stride[1] + w * x->stride[2] + c);
}

/* `n` channels from channel c on of one tap, for `count` pixels from pixel `row` on. */
static void fill_tap(const struct window *win, const struct wf_loops *loops, int64_t frame,
                     int64_t row, int count, int64_t tap, int64_t c, int64_t n, float *a)
{
    const int64_t plane = win->taps_h * win->taps_w;
    const int64_t t = frame * win->stride_t + tap / plane - win->before_t;
    const int64_t down = tap % plane / win->taps_w - win->before_h;
    const int64_t right = tap % win->taps_w - win->before_w;
    int64_t line = row / win->width, place = row % win->width;
    for (int i = 0; i < count; i++) {
        const void *x =
            tap_source(win, t, line * win->stride_hw + down, place * win->stride_hw + right, c);
        if (x)
            loops->to_f32(a + i * WF_TILE_PITCH, x, win->x->dtype, n);
        else
            memset(a + i * WF_TILE_PITCH, 0, (size_t)n * sizeof *a);
        if (++place == win->width) {
            place = 0;
            line++;
        }
    }
}

static void fill_window(const struct window *win, const struct wf_loops *loops, int64_t frame,
                        int64_t row, int count, int64_t from, int depth, float *a)
{
    const int64_t channels = win->x->dim[3];
    for (int done = 0; done < depth;) {
        const int64_t tap = (from + done) / channels, c = (from + done) % channels;
        const int64_t left = depth - done, rest = channels - c;
        const int n = (int)(left < rest ? left : rest);
        fill_tap(win, loops, frame, row, count, tap, c, n, a + done);
        done += n;
    }
}

/* Planes of the kernel that lie before the first frame of x and behind the last. */
struct missing {
    int64_t front, back;
};

static int64_t within(int64_t n, int64_t most)
{
    return n < 0 ? 0 : n < most ? n : most;
}

static struct missing missing_of(const struct wf_conv *a, int64_t frame)
{
    const int64_t depth = a->w->dim[2], first = frame * a->stride_t - a->pad_front;
    return (struct missing){within(-first, depth), within(first + depth - a->x.dim[0], depth)};
}

struct conv_job {
    const struct wf_conv *a;
    struct window window;
};

static void fill_conv(const void *context, const struct wf_loops *loops, int64_t frame, int64_t row,
                      int count, int64_t from, int depth, float *a)
{
    const struct conv_job *job = context;
    fill_window(&job->window, loops, frame, row, count, from, depth, a);
}

/* Frames of padding come first and last in a row: their products are skipped. */
static struct wf_span span_conv(const void *context, int64_t frame)
{
    const struct conv_job *job = context;
    const int64_t *dim = job->a->w->dim, plane = dim[1] * dim[3] * dim[4];
    const struct missing missing = missing_of(job->a, frame);
    return (struct wf_span){missing.front * plane, (dim[2] - missing.back) * plane};
}

static void finish_conv(const void *context, const struct wf_loops *loops, int64_t frame,
                        int64_t row, int64_t column, int n, const float *sums)
{
    const struct wf_conv *a = ((const struct conv_job *)context)->a;
    const float *bias = a->bias ? a->bias->tensor.data : NULL;
    const int64_t h = row / a->y.dim[2], w = row % a->y.dim[2];
    float *y =
        (float *)a->y.data + frame * a->y.stride[0] + h * a->y.stride[1] + w * a->y.dim[3] + column;
    const struct wf_epilogue e = {.bias = bias ? bias + column : NULL, .accumulate = a->accumulate};
    loops->epilogue(y, sums, n, &e);
}

static struct conv_job job_of(const struct wf_conv *a)
{
    return (struct conv_job){.a = a,
                             .window = {.x = &a->x,
                                        .taps_h = a->w->dim[3],
                                        .taps_w = a->w->dim[4],
                                        .before_t = a->pad_front,
                                        .before_h = a->pad_h[0],
                                        .before_w = a->pad_w[0],
                                        .stride_t = a->stride_t,
                                        .stride_hw = a->stride_hw,
                                        .width = a->y.dim[2]}};
}

static struct wf_product product_of(const struct conv_job *job)
{
    const struct wf_tensor *y = &job->a->y;
    return (struct wf_product){.right = job->a->w,
                               .frames = y->dim[0],
                               .rows = y->dim[1] * y->dim[2],
                               .context = job,
                               .fill = fill_conv,
                               .span = span_conv,
                               .finish = finish_conv};
}

static enum wf_status own_conv(struct wf_backend *be, const struct wf_conv *a)
{
    const struct conv_job job = job_of(a);
    const struct wf_product product = product_of(&job);
    return wf_product_run(be, "conv", &product);
}

static struct wf_cpu_need need_own_conv(struct wf_backend *be, const struct wf_conv *a)
{
    const struct conv_job job = job_of(a);
    const struct wf_product product = product_of(&job);
    return wf_product_need(be, &product);
}

/* The same convolution for one frame of y alone, with the frames of x that it sees. */
static struct wf_conv one_frame(const struct wf_conv *a, int64_t t)
{
    const int64_t first = t * a->stride_t - a->pad_front;
    const struct missing missing = missing_of(a, t);
    const int64_t seen = a->w->dim[2] - missing.front - missing.back;
    struct wf_conv one = *a;
    one.y = wf_tensor_slice(a->y, 0, t, 1);
    one.x = wf_tensor_slice(a->x, 0, seen > 0 && first > 0 ? first : 0, seen > 0 ? seen : 1);
    one.pad_front = (int)(seen > 0 ? missing.front : a->w->dim[2]);
    one.pad_back = (int)missing.back;
    return one;
}

/* What the library gets in the place of operands that are not dense: a copy of x, and a frame for
   the result, which is put or added to y by a pass of ours, in the way the library adds. memory:
   *bytes of them, or NULL to ask for their number. */
static struct wf_conv dense_conv(const struct wf_conv *a, unsigned char *memory, size_t *bytes)
{
    struct wf_conv dense = *a;
    *bytes = 0;
    if (!wf_tensor_is_dense(&a->x)) {
        dense.x = wf_tensor_of(memory, a->x.dtype, 4, a->x.dim);
        *bytes = (wf_tensor_bytes(&a->x) + WF_CPU_LINE - 1) / WF_CPU_LINE * WF_CPU_LINE;
    }
    if (!wf_tensor_is_dense(&a->y)) {
        dense.y = wf_tensor_of(memory ? memory + *bytes : NULL, WF_F32, 4, a->y.dim);
        dense.accumulate = false;
        *bytes += wf_tensor_bytes(&a->y);
    }
    return dense;
}

/* A dense frame to where it belongs, line by line. */
static void put_frame(struct wf_backend *be, const struct wf_tensor *y, const float *frame,
                      bool accumulate)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const struct wf_epilogue e = {.accumulate = accumulate};
    const int64_t line = y->dim[2] * y->dim[3];
    const int team = wf_cpu_team(be, y->dim[1] * line, SMALL_SHUFFLE);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t h = 0; h < y->dim[1]; h++)
        loops->epilogue((float *)y->data + h * y->stride[1], frame + h * line, line, &e);
}

static enum wf_status convolve_dense(struct wf_backend *be, const struct wf_conv *a,
                                     const struct wf_conv *dense, const struct wf_param *packed,
                                     bool *done)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    if (dense->x.data != a->x.data)
        WF_TRY(wf_cpu_copy(be, &(const struct wf_copy){.y = dense->x, .x = a->x}));
    WF_TRY(cpu->library->conv(be, cpu->library_state, dense, packed->layout, packed->room, done));
    if (*done && dense->y.data != a->y.data)
        put_frame(be, &a->y, dense->y.data, a->accumulate);
    return WF_OK;
}

/* One frame by the library; packed: the parameter that has its layout and room. */
static enum wf_status library_conv(struct wf_backend *be, const struct wf_conv *a,
                                   const struct wf_param *packed, bool *done)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    size_t bytes;
    struct wf_conv dense = dense_conv(a, NULL, &bytes);
    if (!bytes)
        return convolve_dense(be, a, a, packed, done);
    *done = false; /* nothing is copied for a shape that the library does not take */
    if (!cpu->library->conv_scratch(be, cpu->library_state, &dense, packed->layout))
        return WF_OK;
    unsigned char *memory = be->ops.take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!memory)
        return wf_fail_memory(be->err, "conv", bytes);
    dense = dense_conv(a, memory, &bytes);
    const enum wf_status status = convolve_dense(be, a, &dense, packed, done);
    be->ops.give(be, memory);
    return status;
}

/* What that takes; thread 0: the library does not take it. */
static struct wf_cpu_need need_library_conv(struct wf_backend *be, const struct wf_conv *a,
                                            const struct wf_layout *layout)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    struct wf_cpu_need need = {0};
    const struct wf_conv dense = dense_conv(a, NULL, &need.passing);
    need.thread = cpu->library->conv_scratch(be, cpu->library_state, &dense, layout);
    return need;
}

static void widen(struct wf_cpu_need *need, struct wf_cpu_need other)
{
    need->thread = other.thread > need->thread ? other.thread : need->thread;
    need->passing = other.passing > need->passing ? other.passing : need->passing;
}

struct wf_cpu_need wf_cpu_need_conv(struct wf_backend *be, const struct wf_conv *a)
{
    const struct wf_layout *layout = wf_cpu_layout(be, a->w);
    struct wf_cpu_need need = {0};
    if (!layout)
        return need_own_conv(be, a);
    for (int64_t t = 0; t < a->y.dim[0]; t++) {
        const struct wf_conv one = one_frame(a, t);
        const struct wf_cpu_need library = need_library_conv(be, &one, layout);
        widen(&need, library.thread ? library : need_own_conv(be, &one));
    }
    return need;
}

/* The library gets a frame at a time: its sums may be ordered by the shape of a call, and pixels
   must not depend on how many frames a call has. */
enum wf_status wf_cpu_conv(struct wf_backend *be, const struct wf_conv *a)
{
    be->path = a->w->layout ? "library" : "own";
    if (!a->w->layout)
        return own_conv(be, a);
    for (int64_t t = 0; t < a->y.dim[0]; t++) {
        const struct wf_conv one = one_frame(a, t);
        bool done = false;
        WF_TRY(library_conv(be, &one, a->w, &done));
        if (!done) {
            be->path = "own";
            WF_TRY(own_conv(be, &one));
        }
    }
    return WF_OK;
}

/* The nearest 2x picture repeats each pixel, so a 3x3 kernel on it sees 2x2 pixels of the small
   one: which, and with which of its weights added up, depends on whether the output's line and
   column are even or odd. One 2x2 convolution, padded as the small picture is, computes the four
   cases at each of its (H'/2+1)(W'/2+1) places; they are its 4 O columns, and each belongs to one
   pixel of the result. */
struct upconv_job {
    const struct wf_upconv *a;
    struct window window;
};

static int64_t place_lines(const struct wf_upconv *a)
{
    return a->y.dim[1] / 2 + 1;
}

static void fill_upconv(const void *context, const struct wf_loops *loops, int64_t frame,
                        int64_t row, int count, int64_t from, int depth, float *a)
{
    const struct upconv_job *job = context;
    fill_window(&job->window, loops, frame, row, count, from, depth, a);
}

/* At place p, even results belong to line 2p, odd ones to line 2p - 1; at an edge one is outside.
 */
static void finish_upconv(const void *context, const struct wf_loops *loops, int64_t frame,
                          int64_t row, int64_t column, int n, const float *sums)
{
    const struct upconv_job *job = context;
    const struct wf_tensor *y = &job->a->y;
    const float *bias = job->a->bias ? job->a->bias->tensor.data : NULL;
    const int64_t outputs = y->dim[3];
    for (int done = 0; done < n;) {
        const int64_t phase = (column + done) / outputs, o = (column + done) % outputs;
        const int64_t rest = outputs - o;
        const int count = (int)(n - done < rest ? n - done : rest);
        const int64_t h = 2 * (row / job->window.width) - phase / 2;
        const int64_t w = 2 * (row % job->window.width) - phase % 2;
        if (h >= 0 && h < y->dim[1] && w >= 0 && w < y->dim[2]) {
            const struct wf_epilogue e = {.bias = bias ? bias + o : NULL};
            loops->epilogue((float *)y->data + frame * y->stride[0] + h * y->stride[1] +
                                w * outputs + o,
                            sums + done, count, &e);
        }
        done += count;
    }
}

static struct wf_product upconv_product(const struct upconv_job *job)
{
    return (struct wf_product){.right = job->a->w,
                               .frames = job->a->y.dim[0],
                               .rows = place_lines(job->a) * job->window.width,
                               .context = job,
                               .fill = fill_upconv,
                               .finish = finish_upconv};
}

/* Lines of places that the library computes at a time, so that the cases stay in the cache. */
enum { STRIP = 16 };

/* The convolution of `count` lines of places from line `first` on of a frame; w is the folded
   parameter, y [1,count,W'/2+1,4 O]. */
static struct wf_conv strip_of(const struct wf_upconv *a, int64_t frame, int64_t first,
                               int64_t count, const struct wf_param *w, struct wf_tensor y)
{
    const int64_t top = first - a->pad_h[0], end = top + count + 1;
    const bool above = top < 0;
    const bool below = end > a->x.dim[1];
    const struct wf_tensor x = wf_tensor_slice(a->x, 0, frame, 1);
    return (struct wf_conv){.x = wf_tensor_slice(x, 1, top + above, end - below - top - above),
                            .y = y,
                            .w = w,
                            .pad_h = {above, below},
                            .pad_w = {a->pad_w[0], a->pad_w[1]},
                            .stride_t = 1,
                            .stride_hw = 1};
}

static enum wf_status library_strip(struct wf_backend *be, const struct wf_upconv *a, int64_t frame,
                                    int64_t first, int64_t count, struct wf_tensor y, bool *done)
{
    const struct wf_param folded = wf_folded(a->w);
    const struct wf_conv strip = strip_of(a, frame, first, count, &folded, y);
    return library_conv(be, &strip, a->w, done);
}

static enum wf_status library_frame(struct wf_backend *be, const struct upconv_job *job,
                                    int64_t frame, float *cases, bool *done)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const int64_t lines = place_lines(job->a), width = job->window.width;
    const int64_t columns = 4 * job->a->y.dim[3];
    *done = true;
    for (int64_t first = 0; first < lines; first += STRIP) {
        const int64_t count = lines - first < STRIP ? lines - first : STRIP, places = count * width;
        const struct wf_tensor y = wf_tensor_of(cases, WF_F32, WF_DIMS(1, count, width, columns));
        *done = false;
        WF_TRY(library_strip(be, job->a, frame, first, count, y, done));
        if (!*done)
            break;
        const int team = wf_cpu_team(be, places * columns, SMALL_SHUFFLE);
#pragma omp parallel for num_threads(team) schedule(static)
        for (int64_t i = 0; i < places; i++)
            finish_upconv(job, loops, frame, first * width + i, 0, (int)columns,
                          cases + i * columns);
    }
    return WF_OK;
}

/* Of the cases of a strip. */
static size_t case_bytes(const struct wf_upconv *a)
{
    const int64_t lines = place_lines(a), strip = lines < STRIP ? lines : STRIP;
    return (size_t)(strip * (a->y.dim[2] / 2 + 1) * 4 * a->y.dim[3]) * sizeof(float);
}

static enum wf_status library_upconv(struct wf_backend *be, const struct upconv_job *job,
                                     bool *done)
{
    const size_t bytes = case_bytes(job->a);
    float *cases = be->ops.take(be, WF_MEM_ACTIVATIONS, bytes);
    if (!cases)
        return wf_fail_memory(be->err, "upconv", bytes);
    enum wf_status status = WF_OK;
    *done = true;
    for (int64_t frame = 0; frame < job->a->x.dim[0] && status == WF_OK && *done; frame++)
        status = library_frame(be, job, frame, cases, done);
    be->ops.give(be, cases);
    return status;
}

static struct upconv_job upconv_job_of(const struct wf_upconv *a)
{
    return (struct upconv_job){.a = a,
                               .window = {.x = &a->x,
                                          .taps_h = 2,
                                          .taps_w = 2,
                                          .before_h = a->pad_h[0],
                                          .before_w = a->pad_w[0],
                                          .stride_t = 1,
                                          .stride_hw = 1,
                                          .width = a->y.dim[2] / 2 + 1}};
}

struct wf_cpu_need wf_cpu_need_upconv(struct wf_backend *be, const struct wf_upconv *a)
{
    const struct wf_layout *layout = wf_cpu_layout(be, a->w);
    const struct wf_param folded = wf_folded(a->w);
    const struct upconv_job job = upconv_job_of(a);
    const struct wf_product product = upconv_product(&job);
    const int64_t lines = place_lines(a), width = job.window.width;
    struct wf_cpu_need need = {0};
    bool fast = layout != NULL;
    for (int64_t first = 0; fast && first < lines; first += STRIP) {
        const int64_t count = lines - first < STRIP ? lines - first : STRIP;
        const struct wf_tensor y =
            wf_tensor_of(NULL, WF_F32, WF_DIMS(1, count, width, 4 * a->y.dim[3]));
        const struct wf_conv strip = strip_of(a, 0, first, count, &folded, y);
        struct wf_cpu_need library = need_library_conv(be, &strip, layout);
        fast = library.thread > 0;
        library.passing = case_bytes(a) + (fast ? library.passing : 0);
        widen(&need, library);
    }
    if (!fast)
        widen(&need, wf_product_need(be, &product));
    return need;
}

enum wf_status wf_cpu_upconv(struct wf_backend *be, const struct wf_upconv *a)
{
    const struct upconv_job job = upconv_job_of(a);
    const struct wf_product product = upconv_product(&job);
    bool done = false;
    if (a->w->layout)
        WF_TRY(library_upconv(be, &job, &done));
    be->path = done ? "library" : "own";
    return done ? WF_OK : wf_product_run(be, "upconv", &product);
}
