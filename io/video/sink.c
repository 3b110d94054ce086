#include "io/video/sink.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "io/part.h"
#include "io/video/driver.h"
#include "io/video/frame_queue.h"

enum { MAX_SIDE = 65535, DEFAULT_QUEUE_BYTES = 24 << 20 };

static const struct wf_sink_driver *const drivers[] = {
#ifdef WEFT_HAVE_FFMPEG
    &wf_sink_mp4, &wf_sink_mkv, &wf_sink_mov,      &wf_sink_webm,
#endif
    &wf_sink_png, &wf_sink_y4m, &wf_sink_rawvideo, &wf_sink_safetensors, &wf_sink_null,
};

static const char format_names[] =
#ifdef WEFT_HAVE_FFMPEG
    "mp4, mkv, mov, webm, "
#endif
    "png, y4m, rawvideo, safetensors, null";

const char *wf_sink_formats(void)
{
    return format_names;
}

struct wf_sink {
    const struct wf_sink_driver *driver;
    void *state; /* the driver's */
    struct wf_output *output;
    char *path; /* of output */
    struct wf_frame_queue *queue;
    pthread_t thread;
    bool running;
    size_t samples; /* of a frame */
    int64_t frames, written;
    double seconds; /* the writing thread's while it runs */
};

void wf_sink_defaults(struct wf_sink_config *config)
{
    *config = (struct wf_sink_config){.fps_num = 16, .fps_den = 1, .crf = -1};
}

/* --- what was asked for --- */

static bool in_row(const char *row, const char *word, size_t length)
{
    while (*row) {
        const size_t n = strcspn(row, " ");
        if (n == length && strncasecmp(row, word, n) == 0)
            return true;
        row += n;
        row += strspn(row, " ");
    }
    return false;
}

static enum wf_status driver_by_name(const char *name, const struct wf_sink_driver **driver,
                                     struct wf_error *err)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (strcmp(drivers[i]->name, name) == 0) {
            *driver = drivers[i];
            return WF_OK;
        }
    }
    return wf_fail(err, WF_REFUSED,
                   "output: format '%.40s' is unknown to this build; choose from %s", name,
                   wf_sink_formats());
}

static enum wf_status driver_by_path(const char *path, const struct wf_sink_driver **driver,
                                     struct wf_error *err)
{
    if (strcmp(path, "-") == 0)
        return wf_fail(err, WF_REFUSED,
                       "standard output: has no extension that tells the format; add --format (%s)",
                       wf_sink_formats());
    const char *base = path + wf_path_folder(path);
    const char *dot = strrchr(base, '.');
    for (size_t i = 0; dot && i < sizeof drivers / sizeof *drivers; i++) {
        if (in_row(drivers[i]->extensions, dot + 1, strlen(dot + 1))) {
            *driver = drivers[i];
            return WF_OK;
        }
    }
    return wf_fail(err, WF_REFUSED,
                   "%.200s: the extension tells no format of this build; add --format (%s)", base,
                   wf_sink_formats());
}

static enum wf_status find_driver(const struct wf_sink_config *config,
                                  const struct wf_sink_driver **driver, struct wf_error *err)
{
    const bool has_path = config->path && config->path[0];
    if (config->format)
        WF_TRY(driver_by_name(config->format, driver, err));
    else if (has_path)
        WF_TRY(driver_by_path(config->path, driver, err));
    if (!has_path && !(config->format && ((*driver)->flags & WF_SINK_NOWHERE)))
        return wf_fail(err, WF_REFUSED, "output: has no name; add --output FILE");
    return WF_OK;
}

static enum wf_status check_numbers(const struct wf_sink_config *config, struct wf_error *err)
{
    if (config->width < 1 || config->height < 1 || config->width > MAX_SIDE ||
        config->height > MAX_SIDE)
        return wf_fail(err, WF_REFUSED, "output: size %dx%d; choose 1 to %d pixels a side",
                       config->width, config->height, MAX_SIDE);
    if (config->frames < 0)
        return wf_fail(err, WF_REFUSED, "output: %lld frames; choose 1 or more",
                       (long long)config->frames);
    if (config->fps_num < 1 || config->fps_den < 1)
        return wf_fail(err, WF_REFUSED, "output: frame rate %d/%d; choose one above 0",
                       config->fps_num, config->fps_den);
    return WF_OK;
}

/* Options that would do nothing are mistakes. */
static enum wf_status check_encoder_options(const struct wf_sink_config *config,
                                            const struct wf_sink_driver *driver,
                                            struct wf_error *err)
{
    if (driver->flags & (WF_SINK_ENCODER | WF_SINK_NOWHERE))
        return WF_OK;
    if (config->codec || config->crf >= 0 || config->preset)
        return wf_fail(err, WF_REFUSED, "output: %s has no %s; leave it away", driver->name,
                       config->codec      ? "choice of --codec"
                       : config->crf >= 0 ? "--crf"
                                          : "--preset");
    if (!config->pix_fmt)
        return WF_OK;
    for (size_t i = 0; i < sizeof driver->pix_fmts / sizeof *driver->pix_fmts; i++) {
        if (driver->pix_fmts[i] && strcmp(config->pix_fmt, driver->pix_fmts[i]) == 0)
            return WF_OK;
    }
    const char *first = driver->pix_fmts[0], *second = first ? driver->pix_fmts[1] : NULL;
    return wf_fail(err, WF_REFUSED, "output: %s cannot hold pixel format '%.40s'; %s%s%s%s",
                   driver->name, config->pix_fmt, first ? "choose " : "leave --pix-fmt away",
                   first ? first : "", second ? " or " : "", second ? second : "");
}

/* --- the writing thread --- */

static void *write_frames(void *context)
{
    struct wf_sink *sink = context;
    struct wf_error err = {0};
    enum wf_status status = WF_OK;
    void *frame;
    while (status == WF_OK && (frame = wf_frame_queue_take(sink->queue)) != NULL) {
        const double start = wf_clock();
        status = sink->driver->write(sink->state, frame, &err);
        sink->seconds += wf_clock() - start;
        wf_frame_queue_give_back(sink->queue, frame);
    }
    if (status == WF_OK && !wf_frame_queue_dropped(sink->queue)) {
        const double start = wf_clock();
        status = sink->driver->finish(sink->state, &err);
        sink->seconds += wf_clock() - start;
    }
    wf_frame_queue_done(sink->queue, status, &err);
    return NULL;
}

/* The writing thread and the encoder's threads leave signals to the program's own; a blocked
   SIGPIPE or SIGXFSZ is an errno. Those that a fault raises stay. */
static void block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

static enum wf_status start_quietly(struct wf_sink *sink, const struct wf_sink_config *config,
                                    struct wf_mem *mem, struct wf_error *err)
{
    WF_TRY(sink->driver->open(sink->driver, config, sink->output, mem, &sink->state, err));
    const int error = pthread_create(&sink->thread, NULL, write_frames, sink);
    if (error != 0)
        return wf_fail(err, WF_FAILED, "output: cannot start the writing thread: %s; try again",
                       strerror(error));
    sink->running = true;
    return WF_OK;
}

static enum wf_status open_output(struct wf_sink *sink, const struct wf_sink_config *config,
                                  struct wf_mem *mem, struct wf_error *err)
{
    sink->path = wf_strdup(mem, config->path);
    if (!sink->path)
        return wf_fail_memory(err, "output", strlen(config->path) + 1);
    wf_part_sweep(config->path, 0, 0);
    return wf_output_open(config->path, config->overwrite, config->inputs, mem, &sink->output, err);
}

static enum wf_status start(struct wf_sink *sink, const struct wf_sink_config *config,
                            struct wf_mem *mem, struct wf_error *err)
{
    const unsigned flags = sink->driver->flags;
    const size_t sample = sink->driver->form == WF_SINK_F32 ? sizeof(float) : 1;
    const struct wf_frame_stop stop = {config->cancelled, config->cancel_context};
    if (!(flags & (WF_SINK_SERIES | WF_SINK_NOWHERE)))
        WF_TRY(open_output(sink, config, mem, err));
    WF_TRY(wf_frame_queue_open(sink->samples * sample,
                               config->queue_bytes ? config->queue_bytes : DEFAULT_QUEUE_BYTES,
                               stop, mem, &sink->queue, err));
    sigset_t before;
    block_signals(&before);
    const enum wf_status status = start_quietly(sink, config, mem, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

enum wf_status wf_sink_open(const struct wf_sink_config *config, struct wf_mem *mem,
                            struct wf_sink **result, struct wf_error *err)
{
    *result = NULL;
    const struct wf_sink_driver *driver = NULL;
    WF_TRY(find_driver(config, &driver, err));
    WF_TRY(check_numbers(config, err));
    WF_TRY(check_encoder_options(config, driver, err));
    struct wf_sink *sink = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *sink);
    if (!sink)
        return wf_fail_memory(err, "output", sizeof *sink);
    sink->driver = driver;
    sink->samples = (size_t)config->width * (size_t)config->height * 3;
    sink->frames = config->frames;
    const enum wf_status status = start(sink, config, mem, err);
    if (status != WF_OK)
        wf_sink_abort(&sink);
    *result = sink;
    return status;
}

const char *wf_sink_hint(const struct wf_sink *sink)
{
    return sink->driver->hint ? sink->driver->hint(sink->state) : NULL;
}

bool wf_sink_writes(const struct wf_sink *sink, const char *path)
{
    if (sink->path)
        return wf_file_same(sink->path, path);
    return sink->driver->writes && sink->driver->writes(sink->state, path);
}

/* --- frames --- */

/* Comparisons that are false for NaN give 0. */
static void round_to_u8(unsigned char *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float y = src[i] > 0.0f ? (src[i] < 1.0f ? src[i] : 1.0f) : 0.0f;
        dst[i] = (unsigned char)lrintf(255.0f * y);
    }
}

enum wf_status wf_sink_write(struct wf_sink *sink, const float *frame, struct wf_error *err)
{
    void *buffer;
    if (sink->frames && sink->written == sink->frames)
        return wf_fail(err, WF_FAILED, "output: frame %lld comes after the last; announce it",
                       (long long)sink->written + 1);
    WF_TRY(wf_frame_queue_room(sink->queue, &buffer, err));
    if (sink->driver->form == WF_SINK_F32)
        memcpy(buffer, frame, sink->samples * sizeof(float));
    else
        round_to_u8(buffer, frame, sink->samples);
    wf_frame_queue_put(sink->queue, buffer);
    sink->written++;
    return WF_OK;
}

/* --- the end --- */

static void drop(struct wf_sink *sink)
{
    wf_frame_queue_end(sink->queue, true);
    if (sink->output)
        wf_output_abandon(sink->output);
}

static bool is_whole(const struct wf_sink *sink)
{
    return sink->frames ? sink->written == sink->frames : sink->written > 0;
}

static enum wf_status stop_thread(struct wf_sink *sink, struct wf_error *err)
{
    if (is_whole(sink))
        wf_frame_queue_end(sink->queue, false);
    else
        drop(sink);
    const enum wf_status status = wf_frame_queue_wait(sink->queue, err);
    if (status != WF_OK)
        drop(sink);
    pthread_join(sink->thread, NULL);
    sink->running = false;
    return status;
}

static void count(const struct wf_sink *sink, struct wf_sink_stats *stats)
{
    const struct wf_sink_driver *driver = sink->driver;
    *stats = (struct wf_sink_stats){.format = driver->name, .quality = -1};
    stats->frames = sink->written;
    stats->bytes = sink->output ? wf_output_size(sink->output) : 0;
    stats->seconds = sink->seconds;
    wf_frame_queue_peak(sink->queue, &stats->queue_peak_bytes, &stats->queue_limit_bytes);
    if (driver->count)
        driver->count(sink->state, stats);
}

static enum wf_status finish(struct wf_sink *sink, struct wf_sink_stats *stats,
                             struct wf_error *err)
{
    enum wf_status status = stop_thread(sink, err);
    if (stats)
        count(sink, stats);
    sink->driver->close(sink->state);
    sink->state = NULL;
    if (!is_whole(sink) && (status == WF_OK || status == WF_CANCELLED))
        status = wf_fail(err, WF_FAILED, "output: %lld of %lld frames came; nothing is kept",
                         (long long)sink->written, (long long)(sink->frames ? sink->frames : 1));
    bool kept;
    if (sink->output && status == WF_OK)
        status = wf_output_commit(&sink->output, &kept, err);
    wf_output_discard(&sink->output);
    return status;
}

enum wf_status wf_sink_close(struct wf_sink **sink, struct wf_sink_stats *stats,
                             struct wf_error *err)
{
    const enum wf_status status = finish(*sink, stats, err);
    wf_sink_abort(sink);
    return status;
}

void wf_sink_abort(struct wf_sink **sink)
{
    struct wf_sink *s = *sink;
    if (!s)
        return;
    if (s->running) {
        drop(s);
        pthread_join(s->thread, NULL);
    }
    if (s->state)
        s->driver->close(s->state);
    wf_output_discard(&s->output);
    wf_frame_queue_close(&s->queue);
    wf_free(s->path);
    wf_free(s);
    *sink = NULL;
}
