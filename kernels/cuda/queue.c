/* The order of calls, on three streams: what waits for what, and how far the host may be ahead. */
#include <string.h>

#include "kernels/base/clock.h"
#include "kernels/cuda/library.h"

enum wf_status wf_cuda_check(struct wf_backend *be, const char *what, int code)
{
    struct wf_cuda *c = wf_cuda_of(be);
    if (c->code == 0 && code == 0) {
        c->last = what;
        return WF_OK;
    }
    c->code = c->code ? c->code : code;
    if (c->code == WF_CUDA_SAID)
        return wf_cuda_said(be, WF_FAILED);
    return wf_fail(be->err, WF_FAILED, "cuda: after %s: %s", c->last ? c->last : "the start",
                   c->code == WF_CUBLAS_SAID ? wf_cublas_text(c->cublas) : wf_driver_text(c->code));
}

/* --- how far ahead --- */

/* Work in FLOPs; a byte of a pass takes as long as about 250 of them. */
static double work_of(const struct wf_tally *t)
{
    return wf_flops(t) + 250 * t->work[WF_KIND_PASS];
}

/* Two events, half of the work that may be queued apart. What is queued between them is made to
   take about an eighth of a second, by what it took before. */
static int hold_back(struct wf_backend *be)
{
    struct wf_cuda *c = wf_cuda_of(be);
    const double all = work_of(&be->tally), aim = 0.125;
    if (all < c->pace.done) /* the caller counts anew */
        c->pace.done = 0;
    if (all - c->pace.done < c->pace.budget)
        return 0;
    const bool waits = !wf_driver_passed(c->driver, c->pace.event[0]);
    int code = wf_driver_join(c->driver, c->pace.event[0]);
    const double now = wf_clock(), took = now - c->pace.joined;
    if (waits && c->pace.joined > 0 && took > 0)
        c->pace.budget = (all - c->pace.done) / took * aim;
    c->pace.joined = now;
    c->pace.done = all;
    c->pace.event[0] = c->pace.event[1];
    return code ? code : wf_driver_record(c->driver, WF_STREAM_COMPUTE, &c->pace.event[1]);
}

/* --- where the time goes --- */

static enum wf_kind kind_of(const char *what)
{
    static const struct {
        const char *what;
        enum wf_kind kind;
    } kinds[] = {{"gemm", WF_KIND_GEMM},
                 {"conv", WF_KIND_CONV},
                 {"upconv", WF_KIND_CONV},
                 {"attention", WF_KIND_ATTENTION}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].what, what) == 0)
            return kinds[i].kind;
    }
    return WF_KIND_PASS;
}

/* Reads the oldest spans between two marks. */
static int read_marks(struct wf_backend *be, int spans)
{
    struct wf_cuda *c = wf_cuda_of(be);
    int code = 0;
    for (; spans > 0 && code == 0; spans--) {
        const int from = c->profile.first, to = (from + 1) % WF_DRIVER_MARKS;
        double seconds;
        code = wf_driver_between(c->driver, from, to, &seconds);
        be->tally.seconds[c->profile.kind[from]] += seconds;
        c->profile.first = to;
        c->profile.count--;
    }
    return code;
}

int wf_cuda_begin_kind(struct wf_backend *be, enum wf_kind kind)
{
    struct wf_cuda *c = wf_cuda_of(be);
    const int count = c->profile.count, place = (c->profile.first + count) % WF_DRIVER_MARKS;
    const int last = (place + WF_DRIVER_MARKS - 1) % WF_DRIVER_MARKS;
    if (!be->profiled || (count && c->profile.kind[last] == kind))
        return 0;
    int code = count == WF_DRIVER_MARKS - 1 ? read_marks(be, WF_DRIVER_MARKS / 2) : 0;
    if (code == 0)
        code = wf_driver_mark(c->driver, place);
    c->profile.kind[place] = kind;
    c->profile.count++;
    return code;
}

/* All that was queued is done: the last span ends here. */
static int end_kinds(struct wf_backend *be)
{
    struct wf_cuda *c = wf_cuda_of(be);
    if (!c->profile.count)
        return 0;
    int code = wf_driver_mark(c->driver, (c->profile.first + c->profile.count) % WF_DRIVER_MARKS);
    if (code == 0)
        code = read_marks(be, c->profile.count);
    c->profile.count = 0;
    return code;
}

/* --- what is still being read --- */

/* Bytes from the first element to behind the last. */
static size_t span(const struct wf_tensor *t)
{
    int64_t last = 1;
    for (int i = 0; i < t->rank; i++)
        last += (t->dim[i] - 1) * t->stride[i];
    return (size_t)last * wf_dtype_bytes(t->dtype);
}

int wf_cuda_come_after_downloads(struct wf_cuda *c, const void *data, size_t bytes)
{
    int code = 0;
    const unsigned char *first = data, *end = first + bytes;
    for (int i = 0; i < WF_CUDA_DOWNLOADS && code == 0; i++) {
        struct wf_cuda_download *d = &c->downloads[i];
        if (!d->event || first >= d->end || d->first >= end)
            continue;
        code = wf_driver_wait(c->driver, WF_STREAM_COMPUTE, d->event);
        d->event = 0;
    }
    return code;
}

enum wf_status wf_cuda_launch(struct wf_backend *be, const char *what, const struct wf_tensor *y,
                              wf_launcher *launcher, const void *args, size_t bytes)
{
    struct wf_cuda *c = wf_cuda_of(be);
    int code = hold_back(be);
    if (code == 0)
        code = wf_cuda_begin_kind(be, kind_of(what));
    if (code == 0 && y)
        code = wf_cuda_come_after_downloads(c, y->data, span(y));
    if (code == 0)
        code = wf_driver_launch(c->driver, WF_STREAM_COMPUTE, launcher, args, bytes);
    return wf_cuda_check(be, what, code);
}

/* --- between host and device --- */

static int join(struct wf_cuda *c, enum wf_stream stream)
{
    uint64_t event;
    const int code = wf_driver_record(c->driver, stream, &event);
    return code ? code : wf_driver_join(c->driver, event);
}

enum wf_status wf_cuda_sync(struct wf_backend *be)
{
    struct wf_cuda *c = wf_cuda_of(be);
    int code = join(c, WF_STREAM_COMPUTE);
    if (code == 0)
        code = join(c, WF_STREAM_FRAMES);
    if (code == 0)
        code = end_kinds(be);
    return wf_cuda_check(be, c->last, code);
}

enum wf_status wf_cuda_piece(struct wf_backend *be, void **piece)
{
    struct wf_cuda *c = wf_cuda_of(be);
    *piece = c->ring.piece[c->ring.next];
    return wf_cuda_check(be, "upload", wf_driver_join(c->driver, c->ring.event[c->ring.next]));
}

enum wf_status wf_cuda_send_piece(struct wf_backend *be, void *dst, size_t bytes)
{
    struct wf_cuda *c = wf_cuda_of(be);
    const int i = c->ring.next;
    int code = wf_driver_copy(c->driver, WF_STREAM_COMPUTE, dst, c->ring.piece[i], bytes);
    if (code == 0)
        code = wf_driver_record(c->driver, WF_STREAM_COMPUTE, &c->ring.event[i]);
    c->ring.next = (i + 1) % WF_CUDA_PIECES;
    return wf_cuda_check(be, "upload", code);
}

enum wf_status wf_cuda_upload(struct wf_backend *be, const struct wf_tensor *dst, const void *src)
{
    struct wf_cuda *c = wf_cuda_of(be);
    const size_t bytes = wf_tensor_bytes(dst);
    WF_TRY(wf_cuda_check(be, "upload", wf_cuda_come_after_downloads(c, dst->data, bytes)));
    for (size_t done = 0; done < bytes; done += WF_CUDA_PIECE) {
        const size_t n = bytes - done < WF_CUDA_PIECE ? bytes - done : WF_CUDA_PIECE;
        void *piece;
        WF_TRY(wf_cuda_piece(be, &piece));
        memcpy(piece, (const unsigned char *)src + done, n);
        WF_TRY(wf_cuda_send_piece(be, (unsigned char *)dst->data + done, n));
    }
    return WF_OK;
}

enum wf_status wf_cuda_download(struct wf_backend *be, void *dst, const struct wf_tensor *src)
{
    struct wf_cuda *c = wf_cuda_of(be);
    int code = wf_driver_copy(c->driver, WF_STREAM_COMPUTE, dst, src->data, wf_tensor_bytes(src));
    if (code == 0)
        code = join(c, WF_STREAM_COMPUTE);
    return wf_cuda_check(be, "download", code);
}

enum wf_status wf_cuda_download_begin(struct wf_backend *be, void *dst, const struct wf_tensor *src,
                                      uint64_t *ticket)
{
    struct wf_cuda *c = wf_cuda_of(be);
    struct wf_cuda_download *d = &c->downloads[c->next_download];
    uint64_t ready;
    /* Only so many are looked after: the oldest is waited for. */
    int code = wf_driver_wait(c->driver, WF_STREAM_COMPUTE, d->event);
    if (code == 0)
        code = wf_driver_record(c->driver, WF_STREAM_COMPUTE, &ready);
    if (code == 0)
        code = wf_driver_wait(c->driver, WF_STREAM_FRAMES, ready);
    if (code == 0)
        code = wf_driver_copy(c->driver, WF_STREAM_FRAMES, dst, src->data, wf_tensor_bytes(src));
    if (code == 0)
        code = wf_driver_record(c->driver, WF_STREAM_FRAMES, ticket);
    const unsigned char *first = src->data;
    *d = (struct wf_cuda_download){first, first + wf_tensor_bytes(src), code ? 0 : *ticket};
    c->next_download = (c->next_download + 1) % WF_CUDA_DOWNLOADS;
    return wf_cuda_check(be, "download", code);
}

enum wf_status wf_cuda_wait(struct wf_backend *be, uint64_t ticket)
{
    return wf_cuda_check(be, "download", wf_driver_join(wf_cuda_of(be)->driver, ticket));
}
