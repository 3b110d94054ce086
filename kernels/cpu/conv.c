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
    if (t < 0 || h < 0 || h >= x->dim[1] || w < 0 || w >= x->dim[2])
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

/* Frames of padding come first in a row: their products are skipped. */
static int64_t start_conv(const void *context, int64_t frame)
{
    const struct conv_job *job = context;
    const int64_t *dim = job->a->w->dim, missing = job->a->pad_front - frame * job->a->stride_t;
    return (missing < 0 ? 0 : missing < dim[2] ? missing : dim[2]) * dim[1] * dim[3] * dim[4];
}

static void finish_conv(const void *context, const struct wf_loops *loops, int64_t frame,
                        int64_t row, int64_t column, int n, const float *sums)
{
    const struct wf_conv *a = ((const struct conv_job *)context)->a;
    const float *bias = a->bias ? a->bias->tensor.data : NULL;
    float *y = (float *)a->y.data + frame * a->y.stride[0] + row * a->y.dim[3] + column;
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
                               .start = start_conv,
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
    const int64_t depth = a->w->dim[2], first = t * a->stride_t - a->pad_front;
    const int64_t missing = first >= 0 ? 0 : -first < depth ? -first : depth;
    struct wf_conv one = *a;
    one.y = wf_tensor_slice(a->y, 0, t, 1);
    one.x = wf_tensor_slice(a->x, 0, first > 0 ? first : 0, missing < depth ? depth - missing : 1);
    one.pad_front = (int)missing;
    return one;
}

static void widen(struct wf_cpu_need *need, struct wf_cpu_need other)
{
    need->thread = other.thread > need->thread ? other.thread : need->thread;
    need->passing = other.passing > need->passing ? other.passing : need->passing;
}

struct wf_cpu_need wf_cpu_need_conv(struct wf_backend *be, const struct wf_conv *a)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_layout *layout = wf_cpu_layout(be, a->w);
    struct wf_cpu_need need = {0};
    if (!layout)
        return need_own_conv(be, a);
    for (int64_t t = 0; t < a->y.dim[0]; t++) {
        const struct wf_conv one = one_frame(a, t);
        const size_t thread = cpu->library->conv_scratch(be, cpu->library_state, &one, layout);
        widen(&need, thread ? (struct wf_cpu_need){.thread = thread} : need_own_conv(be, &one));
    }
    return need;
}

/* The library gets a frame at a time: its sums may be ordered by the shape of a call, and pixels
   must not depend on how many frames a call has. */
enum wf_status wf_cpu_conv(struct wf_backend *be, const struct wf_conv *a)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    be->path = a->w->layout ? "library" : "own";
    if (!a->w->layout)
        return own_conv(be, a);
    for (int64_t t = 0; t < a->y.dim[0]; t++) {
        const struct wf_conv one = one_frame(a, t);
        bool done = false;
        WF_TRY(cpu->library->conv(be, cpu->library_state, &one, a->w->layout, a->w->room, &done));
        if (!done) {
            be->path = "own";
            WF_TRY(own_conv(be, &one));
        }
    }
    return WF_OK;
}

/* The nearest 2x picture repeats each pixel, so a 3x3 kernel on it sees 2x2 pixels of the small
   one: which, and with which of its weights added up, depends on whether the output's line and
   column are even or odd. One 2x2 convolution with padding 1 all round computes the four cases at
   each of its (H+1)(W+1) places; they are its 4 O columns, and each belongs to one pixel of the
   result. */
struct upconv_job {
    const struct wf_upconv *a;
    struct window window;
};

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
            loops->epilogue((float *)y->data + frame * y->stride[0] +
                                (h * y->dim[2] + w) * outputs + o,
                            sums + done, count, &e);
        }
        done += count;
    }
}

static struct wf_product upconv_product(const struct upconv_job *job)
{
    const struct wf_tensor *x = &job->a->x;
    return (struct wf_product){.right = job->a->w,
                               .frames = x->dim[0],
                               .rows = (x->dim[1] + 1) * (x->dim[2] + 1),
                               .context = job,
                               .fill = fill_upconv,
                               .finish = finish_upconv};
}

/* Lines of places that the library computes at a time, so that the cases stay in the cache. */
enum { STRIP = 16 };

/* The convolution of `count` lines of places from line `first` on of a frame; w is the folded
   parameter, y [1,count,W+1,4 O]. */
static struct wf_conv strip_of(const struct wf_upconv *a, int64_t frame, int64_t first,
                               int64_t count, const struct wf_param *w, struct wf_tensor y)
{
    const int64_t height = a->x.dim[1], above = first == 0, below = first + count > height;
    const int64_t top = first - 1 + above, lines = count + 1 - above - below;
    const struct wf_tensor x = wf_tensor_slice(a->x, 0, frame, 1);
    return (struct wf_conv){.x = wf_tensor_slice(x, 1, top, lines),
                            .y = y,
                            .w = w,
                            .pad_h = {(int)above, (int)below},
                            .pad_w = {1, 1},
                            .stride_t = 1,
                            .stride_hw = 1};
}

static enum wf_status library_strip(struct wf_backend *be, const struct wf_upconv *a, int64_t frame,
                                    int64_t first, int64_t count, struct wf_tensor y, bool *done)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_param folded = wf_folded(a->w);
    const struct wf_conv strip = strip_of(a, frame, first, count, &folded, y);
    return cpu->library->conv(be, cpu->library_state, &strip, a->w->layout, a->w->room, done);
}

static enum wf_status library_frame(struct wf_backend *be, const struct upconv_job *job,
                                    int64_t frame, float *cases, bool *done)
{
    const struct wf_loops *loops = wf_cpu_of(be)->loops;
    const int64_t lines = job->a->x.dim[1] + 1, width = job->window.width;
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
    const int64_t lines = a->x.dim[1] + 1, strip = lines < STRIP ? lines : STRIP;
    return (size_t)(strip * (a->x.dim[2] + 1) * 4 * a->y.dim[3]) * sizeof(float);
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
                                          .before_h = 1,
                                          .before_w = 1,
                                          .stride_t = 1,
                                          .stride_hw = 1,
                                          .width = a->x.dim[2] + 1}};
}

struct wf_cpu_need wf_cpu_need_upconv(struct wf_backend *be, const struct wf_upconv *a)
{
    const struct wf_cpu *cpu = wf_cpu_of(be);
    const struct wf_layout *layout = wf_cpu_layout(be, a->w);
    const struct wf_param folded = wf_folded(a->w);
    const struct upconv_job job = upconv_job_of(a);
    const struct wf_product product = upconv_product(&job);
    const int64_t lines = a->x.dim[1] + 1;
    struct wf_cpu_need need = {0};
    for (int64_t first = 0; layout && first < lines; first += STRIP) {
        const int64_t count = lines - first < STRIP ? lines - first : STRIP;
        const struct wf_tensor y =
            wf_tensor_of(NULL, WF_F32, WF_DIMS(1, count, a->x.dim[2] + 1, 4 * a->y.dim[3]));
        const struct wf_conv strip = strip_of(a, 0, first, count, &folded, y);
        widen(&need, (struct wf_cpu_need){.thread = cpu->library->conv_scratch(
                                              be, cpu->library_state, &strip, layout),
                                          .passing = case_bytes(a)});
    }
    return need.thread ? need : wf_product_need(be, &product);
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
