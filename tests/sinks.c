/* What the tests of the sinks share. */
#include "tests/sinks.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static float sample(int64_t t, int x, int y, int c)
{
    const float fx = (float)x, fy = (float)y, ft = (float)t;
    return 0.5f + 0.56f * sinf(0.043f * fx + 0.2f * ft + (float)c) *
                      cosf(0.031f * fy - 0.1f * ft + 2.0f * (float)c);
}

float *make_frame(int64_t t, int width, int height)
{
    float *frame = malloc((size_t)width * (size_t)height * 3 * sizeof(float)), *next = frame;
    assert_non_null(frame);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *next++ = sample(t, x, y, c);
    return frame;
}

unsigned char u8(float y)
{
    if (!(y > 0.0f))
        return 0;
    return y >= 1.0f ? 255 : (unsigned char)rint((double)(255.0f * y));
}

unsigned char *make_rgb(int64_t t, int width, int height)
{
    const size_t n = (size_t)width * (size_t)height * 3;
    float *frame = make_frame(t, width, height);
    unsigned char *rgb = malloc(n);
    assert_non_null(rgb);
    for (size_t i = 0; i < n; i++)
        rgb[i] = u8(frame[i]);
    free(frame);
    return rgb;
}

static double clamped(double v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

static void yuv_of(double yuv[3], enum matrix matrix, double r, double g, double b)
{
    const double red = matrix == BT709 ? 0.2126 : 0.299, blue = matrix == BT709 ? 0.0722 : 0.114;
    const double y = red * r + (1 - red - blue) * g + blue * b;
    yuv[0] = clamped(16 + 219 * y / 255);
    yuv[1] = clamped(128 + 224 * (b - y) / (2 - 2 * blue) / 255);
    yuv[2] = clamped(128 + 224 * (r - y) / (2 - 2 * red) / 255);
}

double *make_yuv(const unsigned char *rgb, int width, int height, struct planes planes,
                 enum matrix matrix, size_t *count)
{
    const int cw = (width + planes.columns - 1) / planes.columns;
    const int ch = (height + planes.rows - 1) / planes.rows;
    const size_t pixels = (size_t)width * (size_t)height, small = (size_t)cw * (size_t)ch;
    double *out = malloc((pixels + 2 * small) * sizeof(double)), yuv[3];
    assert_non_null(out);
    for (size_t i = 0; i < pixels; i++) {
        yuv_of(yuv, matrix, rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
        out[i] = yuv[0];
    }
    for (int y = 0; y < ch; y++) {
        for (int x = 0; x < cw; x++) {
            double sum[3] = {0, 0, 0};
            for (int dy = 0; dy < planes.rows; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    const int below = planes.rows * y + dy;
                    const int sy = below < height ? below : height - 1;
                    int sx = planes.columns * x + (planes.columns == 2 ? dx : 0);
                    sx = sx < 0 ? 0 : sx < width ? sx : width - 1;
                    const double weight = (dx == 0 ? 2.0 : 1.0) / (4.0 * planes.rows);
                    for (int c = 0; c < 3; c++)
                        sum[c] +=
                            weight * rgb[3 * ((size_t)sy * (size_t)width + (size_t)sx) + (size_t)c];
                }
            yuv_of(yuv, matrix, sum[0], sum[1], sum[2]);
            out[pixels + (size_t)y * (size_t)cw + (size_t)x] = yuv[1];
            out[pixels + small + (size_t)y * (size_t)cw + (size_t)x] = yuv[2];
        }
    }
    *count = pixels + 2 * small;
    for (size_t i = 0; i < *count; i++)
        out[i] *= 1 << (planes.bits - 8);
    return out;
}

struct wf_sink_config make_config(const char *path, int width, int height, int64_t frames)
{
    struct wf_sink_config config;
    wf_sink_defaults(&config);
    config.path = path;
    config.width = width;
    config.height = height;
    config.frames = frames;
    config.fps_num = 30000;
    config.fps_den = 1001;
    return config;
}

enum wf_status write_frames(struct wf_sink *sink, const struct wf_sink_config *config,
                            int64_t frames, struct wf_error *err)
{
    enum wf_status status = WF_OK;
    for (int64_t t = 0; t < frames && status == WF_OK; t++) {
        float *frame = make_frame(t, config->width, config->height);
        status = wf_sink_write(sink, frame, err);
        free(frame);
    }
    return status;
}

enum wf_status write_clip(struct fixture *f, const struct wf_sink_config *config, int64_t frames)
{
    struct wf_sink *sink;
    f->err = (struct wf_error){0};
    enum wf_status status = wf_sink_open(config, f->mem, &sink, &f->err);
    if (status != WF_OK) {
        assert_null(sink);
        return status;
    }
    status = write_frames(sink, config, frames, &f->err);
    struct wf_error second = {0};
    const enum wf_status closed = wf_sink_close(&sink, NULL, &second);
    assert_null(sink);
    if (status == WF_OK) {
        status = closed;
        f->err = second;
    } else {
        assert_int_not_equal(closed, WF_OK);
    }
    return status;
}

void must_write(struct fixture *f, const struct wf_sink_config *config, int64_t frames)
{
    const enum wf_status status = write_clip(f, config, frames);
    if (status != WF_OK)
        print_error("%s: %s\n", config->path, f->err.text);
    assert_int_equal(status, WF_OK);
    assert_int_equal(wf_mem_live_all(f->mem), 0);
}

unsigned char *read_stream(FILE *file, size_t *bytes)
{
    size_t room = 1 << 16;
    unsigned char *data = malloc(room);
    assert_non_null(data);
    *bytes = 0;
    for (size_t n; (n = fread(data + *bytes, 1, room - *bytes - 1, file)) > 0;) {
        *bytes += n;
        if (*bytes == room - 1)
            data = realloc(data, room *= 2);
        assert_non_null(data);
    }
    data[*bytes] = 0;
    return data;
}

unsigned char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    unsigned char *data = read_stream(file, bytes);
    fclose(file);
    return data;
}

__attribute__((format(printf, 2, 3))) unsigned char *run(size_t *bytes, const char *format, ...)
{
    char command[2 * PATH_ROOM];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    unsigned char *out = read_stream(pipe, bytes);
    const int status = pclose(pipe);
    if (status != 0)
        fail_msg("'%s' ended with %d", command, status);
    return out;
}

bool has_format(const char *name)
{
    return strstr(wf_sink_formats(), name) != NULL;
}

static bool has_ffmpeg(void)
{
    return system("ffmpeg -version >/dev/null 2>&1 && ffprobe -version >/dev/null 2>&1") == 0;
}

void need(const char *format)
{
    if (!has_format(format) || !has_ffmpeg())
        skip();
}

const char *in(const struct fixture *f, char path[PATH_ROOM], const char *name)
{
    snprintf(path, PATH_ROOM, "%s/%s", f->folder, name);
    return path;
}

int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

int entries_seen(const char *path, int *entries)
{
    char command[PATH_ROOM];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const int read = fscanf(pipe, "%d", entries);
    pclose(pipe);
    return read;
}

void folder_is_empty(const struct fixture *f)
{
    int entries = -1;
    assert_int_equal(entries_seen(f->folder, &entries), 1);
    assert_int_equal(entries, 0);
}

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int sinks_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    strcpy(f->folder, "/tmp/weft-sinks-XXXXXX");
    f->mem = wf_mem_open();
    *state = f;
    return f->mem && mkdtemp(f->folder) ? 0 : -1;
}

int sinks_teardown(void **state)
{
    struct fixture *f = *state;
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    wf_mem_close(&f->mem);
    free(f);
    return 0;
}

void *read_pipe(void *context)
{
    struct reader *r = context;
    FILE *file = fopen(r->path, "rb");
    if (!file)
        return NULL;
    if (r->limit) {
        r->data = malloc(r->limit);
        r->bytes = r->data ? fread(r->data, 1, r->limit, file) : 0;
        for (int i = 0; r->holds && i < 2000 && !atomic_load(&r->released); i++)
            usleep(10000);
    } else {
        r->data = read_stream(file, &r->bytes);
    }
    fclose(file);
    return NULL;
}

void through_pipe(struct fixture *f, struct wf_sink_config config, const char *copy)
{
    char path[PATH_ROOM];
    pthread_t thread;
    struct reader reader = {.path = in(f, path, "pipe")};
    config.path = path;
    unlink(path);
    assert_int_equal(mkfifo(path, 0666), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
    must_write(f, &config, config.frames);
    pthread_join(thread, NULL);
    FILE *file = fopen(copy, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(reader.data, 1, reader.bytes, file), reader.bytes);
    fclose(file);
    free(reader.data);
}

void refuse(struct fixture *f, const struct wf_sink_config *config, const char *words)
{
    const enum wf_status status = write_clip(f, config, 1);
    if (status != WF_REFUSED || !strstr(f->err.text, words))
        fail_msg("%s: %d, '%s' does not say '%s'", config->path ? config->path : "(none)",
                 (int)status, f->err.text, words);
    assert_int_equal(wf_mem_live_all(f->mem), 0);
}
