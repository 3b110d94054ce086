/* The sinks: what they write is read back here byte by byte, or by the ffmpeg program where it is
   installed, and nothing is left where something fails. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/video/sink.h"

enum { PATH_ROOM = 512 };

struct fixture {
    char folder[64];
    struct wf_mem *mem;
    struct wf_error err;
};

/* --- material --- */

/* Smooth, moving, coloured, and beyond 0..1 in places. */
static float sample(int64_t t, int x, int y, int c)
{
    const float fx = (float)x, fy = (float)y, ft = (float)t;
    return 0.5f + 0.56f * sinf(0.043f * fx + 0.2f * ft + (float)c) *
                      cosf(0.031f * fy - 0.1f * ft + 2.0f * (float)c);
}

static float *make_frame(int64_t t, int width, int height)
{
    float *frame = malloc((size_t)width * (size_t)height * 3 * sizeof(float)), *next = frame;
    assert_non_null(frame);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *next++ = sample(t, x, y, c);
    return frame;
}

static unsigned char u8(float y)
{
    if (!(y > 0.0f))
        return 0;
    return y >= 1.0f ? 255 : (unsigned char)rint((double)(255.0f * y));
}

static unsigned char *make_rgb(int64_t t, int width, int height)
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

static void yuv_of(double yuv[3], double r, double g, double b)
{
    const double y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    yuv[0] = clamped(16 + 219 * y / 255);
    yuv[1] = clamped(128 + 224 * (b - y) / 1.8556 / 255);
    yuv[2] = clamped(128 + 224 * (r - y) / 1.5748 / 255);
}

/* The planes of one frame, in double precision; step 2: 4:2:0 with left-sited chroma. */
static double *make_yuv(const unsigned char *rgb, int width, int height, int step, size_t *count)
{
    const int cw = (width + step - 1) / step, ch = (height + step - 1) / step;
    const size_t pixels = (size_t)width * (size_t)height, small = (size_t)cw * (size_t)ch;
    double *out = malloc((pixels + 2 * small) * sizeof(double)), yuv[3];
    assert_non_null(out);
    for (size_t i = 0; i < pixels; i++) {
        yuv_of(yuv, rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
        out[i] = yuv[0];
    }
    for (int y = 0; y < ch; y++) {
        for (int x = 0; x < cw; x++) {
            double sum[3] = {0, 0, 0};
            for (int dy = 0; dy < step; dy++)
                for (int dx = -1; dx <= 1; dx++) {
                    const int sy = step * y + dy < height ? step * y + dy : height - 1;
                    int sx = step * x + (step == 2 ? dx : 0);
                    sx = sx < 0 ? 0 : sx < width ? sx : width - 1;
                    const double weight = (dx == 0 ? 2.0 : 1.0) / (4.0 * step);
                    for (int c = 0; c < 3; c++)
                        sum[c] +=
                            weight * rgb[3 * ((size_t)sy * (size_t)width + (size_t)sx) + (size_t)c];
                }
            yuv_of(yuv, sum[0], sum[1], sum[2]);
            out[pixels + (size_t)y * (size_t)cw + (size_t)x] = yuv[1];
            out[pixels + small + (size_t)y * (size_t)cw + (size_t)x] = yuv[2];
        }
    }
    *count = pixels + 2 * small;
    return out;
}

/* --- tools --- */

static struct wf_sink_config make_config(const char *path, int width, int height, int64_t frames)
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

static enum wf_status write_frames(struct wf_sink *sink, const struct wf_sink_config *config,
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

/* Opens, writes, closes; the first failure. */
static enum wf_status write_clip(struct fixture *f, const struct wf_sink_config *config,
                                 int64_t frames)
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

static void must_write(struct fixture *f, const struct wf_sink_config *config, int64_t frames)
{
    const enum wf_status status = write_clip(f, config, frames);
    if (status != WF_OK)
        print_error("%s: %s\n", config->path, f->err.text);
    assert_int_equal(status, WF_OK);
    assert_int_equal(wf_mem_live_all(f->mem), 0);
}

/* With a zero after the last byte. */
static unsigned char *read_stream(FILE *file, size_t *bytes)
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

static unsigned char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: %s", path, strerror(errno));
    unsigned char *data = read_stream(file, bytes);
    fclose(file);
    return data;
}

__attribute__((format(printf, 2, 3))) static unsigned char *run(size_t *bytes, const char *format,
                                                                ...)
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

static bool has_format(const char *name)
{
    return strstr(wf_sink_formats(), name) != NULL;
}

static bool has_ffmpeg(void)
{
    return system("ffmpeg -version >/dev/null 2>&1 && ffprobe -version >/dev/null 2>&1") == 0;
}

/* For what is read back by the ffmpeg program. */
static void need(const char *format)
{
    if (!has_format(format) || !has_ffmpeg())
        skip();
}

static const char *in(const struct fixture *f, char path[PATH_ROOM], const char *name)
{
    snprintf(path, PATH_ROOM, "%s/%s", f->folder, name);
    return path;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static int entries_seen(const char *path, int *entries)
{
    char command[PATH_ROOM];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const int read = fscanf(pipe, "%d", entries);
    pclose(pipe);
    return read;
}

static void folder_is_empty(const struct fixture *f)
{
    int entries = -1;
    assert_int_equal(entries_seen(f->folder, &entries), 1);
    assert_int_equal(entries, 0);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    strcpy(f->folder, "/tmp/weft-sinks-XXXXXX");
    f->mem = wf_mem_open();
    *state = f;
    return f->mem && mkdtemp(f->folder) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    wf_mem_close(&f->mem);
    free(f);
    return 0;
}

/* --- plain formats --- */

static void raw_is_exact(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM];
    struct wf_sink_config config = make_config(in(f, path, "clip.rgb"), 33, 17, 5);
    config.queue_bytes = 1;
    must_write(f, &config, 5);
    size_t bytes;
    unsigned char *data = read_file(path, &bytes);
    assert_int_equal(bytes, 5 * 33 * 17 * 3);
    for (int t = 0; t < 5; t++) {
        unsigned char *rgb = make_rgb(t, 33, 17);
        assert_memory_equal(data + (size_t)t * 33 * 17 * 3, rgb, 33 * 17 * 3);
        free(rgb);
    }
    free(data);
}

static void rounding(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM];
    const float frame[] = {0.5f / 255.0f, 1.5f / 255.0f, 2.5f / 255.0f, 254.5f / 255.0f,
                           NAN,           -0.1f,         1.1f,          INFINITY,
                           -INFINITY,     0.0f,          1.0f,          -0.0f};
    unsigned char expected[12];
    struct wf_sink_config config = make_config(in(f, path, "clip.rgb"), 2, 2, 1);
    struct wf_sink *sink;
    assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
    assert_int_equal(wf_sink_write(sink, frame, &f->err), WF_OK);
    double seconds = -1;
    assert_int_equal(wf_sink_close(&sink, &seconds, &f->err), WF_OK);
    assert_true(seconds >= 0);
    for (int i = 0; i < 12; i++)
        expected[i] = u8(frame[i]);
    const unsigned char fixed[] = {0, 255, 255, 0, 0, 255, 0};
    assert_memory_equal(expected + 5, fixed, 7);
    assert_int_equal(expected[4], 0);
    size_t bytes;
    unsigned char *data = read_file(path, &bytes);
    assert_int_equal(bytes, 12);
    assert_memory_equal(data, expected, 12);
    free(data);
}

static void check_tensor(const char *path, int width, int height, int frames)
{
    size_t bytes, n = (size_t)width * (size_t)height * 3 * sizeof(float);
    unsigned char *data = read_file(path, &bytes);
    uint64_t header;
    memcpy(&header, data, 8);
    assert_int_equal(header % 8, 0);
    assert_int_equal(bytes, 8 + header + n * (size_t)frames);
    char expected[160];
    const int length =
        snprintf(expected, sizeof expected,
                 "{\"frames\":{\"dtype\":\"F32\",\"shape\":[%d,%d,%d,3],\"data_offsets\":[0,%zu]}}",
                 frames, height, width, n * (size_t)frames);
    assert_memory_equal(data + 8, expected, (size_t)length);
    for (uint64_t i = (uint64_t)length; i < header; i++)
        assert_int_equal(data[8 + i], ' ');
    for (int t = 0; t < frames; t++) {
        float *frame = make_frame(t, width, height);
        assert_memory_equal(data + 8 + header + (size_t)t * n, frame, n);
        free(frame);
    }
    free(data);
}

static void tensor_file(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM];
    struct wf_sink_config config = make_config(in(f, path, "clip.safetensors"), 7, 5, 4);
    must_write(f, &config, 4);
    check_tensor(path, 7, 5, 4);
    config.frames = 0; /* not known before */
    config.overwrite = true;
    must_write(f, &config, 11);
    check_tensor(path, 7, 5, 11);
}

static void check_y4m(struct fixture *f, int width, int height, int frames, const char *pix_fmt)
{
    char path[PATH_ROOM], header[200];
    struct wf_sink_config config = make_config(in(f, path, "clip.y4m"), width, height, frames);
    config.pix_fmt = pix_fmt;
    config.overwrite = true;
    must_write(f, &config, frames);
    const bool full = pix_fmt && strcmp(pix_fmt, "yuv444p") == 0;
    const int length = snprintf(
        header, sizeof header, "YUV4MPEG2 W%d H%d F30000:1001 Ip A1:1 %s XCOLORRANGE=LIMITED\n",
        width, height, full ? "C444 XYSCSS=444" : "C420mpeg2 XYSCSS=420MPEG2");
    size_t bytes, n, at = (size_t)length;
    unsigned char *data = read_file(path, &bytes);
    assert_memory_equal(data, header, at);
    for (int t = 0; t < frames; t++) {
        unsigned char *rgb = make_rgb(t, width, height);
        double *yuv = make_yuv(rgb, width, height, full ? 1 : 2, &n);
        assert_true(at + 6 + n <= bytes);
        assert_memory_equal(data + at, "FRAME\n", 6);
        for (size_t i = 0; i < n; i++)
            if (fabs(data[at + 6 + i] - yuv[i]) > 0.5001)
                fail_msg("frame %d sample %zu: %d, not %f", t, i, data[at + 6 + i], yuv[i]);
        at += 6 + n;
        free(yuv);
        free(rgb);
    }
    assert_int_equal(at, bytes);
    free(data);
}

static void y4m_is_bt709(void **state)
{
    struct fixture *f = *state;
    check_y4m(f, 33, 17, 3, NULL);
    check_y4m(f, 32, 18, 1, "yuv420p");
    check_y4m(f, 1, 1, 1, NULL);
    check_y4m(f, 33, 17, 2, "yuv444p");
}

static void null_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct wf_sink_config config = make_config(NULL, 8, 8, 3);
    config.format = "null";
    must_write(f, &config, 3);
    folder_is_empty(f);
}

/* --- through ffmpeg --- */

static void probe_has(const char *path, const char *line)
{
    size_t bytes;
    char *out = (char *)run(&bytes,
                            "ffprobe -v error -count_frames -select_streams v -show_entries "
                            "stream=codec_name,width,height,pix_fmt,color_range,color_space,"
                            "color_transfer,color_primaries,chroma_location,r_frame_rate,"
                            "avg_frame_rate,nb_read_frames,has_b_frames,codec_tag_string "
                            "-of default=nw=1 '%s'",
                            path);
    assert_non_null(out);
    if (out && !strstr(out, line))
        fail_msg("%s: no '%s' in\n%s", path, line, out);
    free(out);
}

static void probe_colours(const char *path)
{
    probe_has(path, "color_range=tv");
    probe_has(path, "color_space=bt709");
    probe_has(path, "color_transfer=bt709");
    probe_has(path, "color_primaries=bt709");
}

static double psnr(const char *path, int width, int height, int frames, int step)
{
    size_t bytes, n;
    unsigned char *data = run(&bytes,
                              "ffmpeg -v error -i '%s' -f rawvideo -pix_fmt %s -fps_mode "
                              "passthrough -",
                              path, step == 2 ? "yuv420p" : "yuv444p");
    double sum = 0;
    for (int t = 0; t < frames; t++) {
        unsigned char *rgb = make_rgb(t, width, height);
        double *yuv = make_yuv(rgb, width, height, step, &n);
        assert_int_equal(bytes, n * (size_t)frames);
        for (size_t i = 0; i < n; i++)
            sum += pow(data[(size_t)t * n + i] - yuv[i], 2);
        free(yuv);
        free(rgb);
    }
    free(data);
    return 10 * log10(255 * 255 * (double)n * frames / sum);
}

static void check_av(struct fixture *f, const char *name, int crf, int frames, const char *pix_fmt)
{
    char path[PATH_ROOM], line[64];
    struct wf_sink_config config = make_config(in(f, path, name), 96, 64, frames);
    config.crf = crf;
    config.pix_fmt = pix_fmt;
    config.overwrite = true;
    must_write(f, &config, frames);
    const double db = psnr(path, 96, 64, frames, pix_fmt ? 1 : 2);
    print_message("%s crf %d, %d frames: %.2f dB\n", name, crf, frames, db);
    assert_true(db >= 45);
    probe_has(path, "width=96\nheight=64");
    probe_has(path, pix_fmt ? "pix_fmt=yuv444p" : "pix_fmt=yuv420p");
    probe_has(path, frames > 1 ? "avg_frame_rate=30000/1001" : "");
    snprintf(line, sizeof line, "nb_read_frames=%d", frames);
    probe_has(path, line);
    probe_colours(path);
    if (!pix_fmt && !strstr(name, "webm"))
        probe_has(path, "chroma_location=left");
}

static void containers(void **state)
{
    struct fixture *f = *state;
    need("mp4");
    check_av(f, "clip.mp4", 12, 20, NULL);
    check_av(f, "clip.MOV", 12, 20, NULL);
    check_av(f, "clip.mkv", 12, 20, NULL);
    check_av(f, "clip.webm", 12, 20, NULL);
    check_av(f, "clip.m4v", 12, 1, NULL);
    check_av(f, "clip.mkv", 12, 1, NULL);
    check_av(f, "clip.webm", 12, 1, NULL);
    check_av(f, "clip.mp4", 12, 3, "yuv444p");
    check_av(f, "clip.mp4", -1, 70, NULL);
    char path[PATH_ROOM];
    size_t bytes;
    unsigned char *data = read_file(in(f, path, "clip.mp4"), &bytes);
    unsigned char *moov = memmem(data, bytes, "moov", 4), *mdat = memmem(data, bytes, "mdat", 4);
    assert_non_null(moov);
    assert_non_null(mdat);
    assert_true(moov < mdat); /* a player can start before it has all */
    free(data);
}

/* In a process that ends without a look at its heap, of which x265 leaves a piece behind. True if
   this FFmpeg has the codec. */
static bool write_in_child(struct fixture *f, const struct wf_sink_config *config)
{
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const enum wf_status status = write_clip(f, config, config->frames);
        _exit(status == WF_REFUSED && strstr(f->err.text, "no video encoder") ? 77 : (int)status);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 77))
        fail_msg("%s: ended with %d", config->path, status);
    return WEXITSTATUS(status) == 0;
}

static void other_codecs(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *file, *codec, *pix_fmt, *expected;
    } cases[] = {{"hevc.mp4", "libx265", NULL, "codec_tag_string=hvc1"},
                 {"lossless.mkv", "ffv1", "yuv444p10le", "pix_fmt=yuv444p10le"},
                 {"prores.mov", "prores_ks", "yuv422p10le", "codec_name=prores"},
                 {"part2.mp4", "mpeg4", NULL, "codec_name=mpeg4"},
                 {"rgb.mkv", "libx264rgb", "rgb24", "codec_name=h264"},
                 {"vp9.mp4", "libvpx-vp9", NULL, "codec_name=vp9"}};
    need("mp4");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[PATH_ROOM];
        struct wf_sink_config config = make_config(in(f, path, cases[i].file), 96, 64, 6);
        config.codec = cases[i].codec;
        config.pix_fmt = cases[i].pix_fmt;
        if (!write_in_child(f, &config))
            continue;
        probe_has(path, cases[i].expected);
        probe_has(path, "nb_read_frames=6");
    }
}

static void y4m_is_read(void **state)
{
    struct fixture *f = *state;
    need("y4m");
    char path[PATH_ROOM];
    struct wf_sink_config config = make_config(in(f, path, "clip.y4m"), 33, 17, 3);
    must_write(f, &config, 3);
    probe_has(path, "color_range=tv");
    probe_has(path, "chroma_location=left");
    probe_has(path, "r_frame_rate=30000/1001");
    assert_true(psnr(path, 33, 17, 3, 2) > 55);
}

static void png_is_exact(void **state)
{
    struct fixture *f = *state;
    need("png");
    char path[PATH_ROOM], other[PATH_ROOM];
    mkdir(in(f, path, "100%d"), 0777); /* only the file's own name is a pattern */
    struct wf_sink_config config = make_config(in(f, path, "100%d/frame-%03d.png"), 33, 17, 4);
    must_write(f, &config, 4);
    for (int t = 0; t < 4; t++) {
        char name[64];
        size_t bytes;
        snprintf(name, sizeof name, "100%%d/frame-%03d.png", t + 1);
        unsigned char *rgb = make_rgb(t, 33, 17);
        unsigned char *data =
            run(&bytes, "ffmpeg -v error -pattern_type none -i '%s' -f rawvideo -pix_fmt rgb24 -",
                in(f, other, name));
        assert_int_equal(bytes, 33 * 17 * 3);
        assert_memory_equal(data, rgb, bytes);
        free(data);
        free(rgb);
    }
    assert_int_equal(write_clip(f, &config, 4), WF_REFUSED); /* they exist */
    config.frames = 0;
    assert_int_equal(write_clip(f, &config, 4), WF_REFUSED);
}

static void png_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM];
    struct wf_sink *sink;
    struct wf_sink_config config = make_config(in(f, path, "%d.png"), 16, 16, 9);
    assert_int_equal(write_clip(f, &config, 3), WF_FAILED); /* fewer than announced */
    folder_is_empty(f);
    assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
    assert_int_equal(write_frames(sink, &config, 5, &f->err), WF_OK);
    wf_sink_abort(&sink);
    folder_is_empty(f);
}

/* --- pipes --- */

struct reader {
    const char *path;
    size_t limit; /* bytes to take before leaving; 0: all */
    bool holds;   /* and then stays without reading any more, until released */
    atomic_bool released;
    unsigned char *data;
    size_t bytes;
};

static void *read_pipe(void *context)
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

/* Writes a clip to a named pipe and what came out of it to the file `copy`. */
static void through_pipe(struct fixture *f, const char *format, int frames, const char *copy)
{
    char path[PATH_ROOM];
    pthread_t thread;
    struct wf_sink_config config = make_config(in(f, path, "pipe"), 96, 64, frames);
    struct reader reader = {.path = path};
    unlink(path);
    assert_int_equal(mkfifo(path, 0666), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
    config.format = format;
    must_write(f, &config, frames);
    pthread_join(thread, NULL);
    FILE *file = fopen(copy, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(reader.data, 1, reader.bytes, file), reader.bytes);
    fclose(file);
    free(reader.data);
}

static int count_of(const unsigned char *data, size_t bytes, const char *word)
{
    int n = 0;
    for (const unsigned char *at = data; (at = memmem(at, bytes - (size_t)(at - data), word, 4));
         at += 4)
        n++;
    return n;
}

static void av_through_pipe(void **state)
{
    struct fixture *f = *state;
    static const char *const formats[] = {"mp4", "mov", "mkv", "webm"};
    need("mp4");
    for (size_t i = 0; i < 4; i++) {
        char copy[PATH_ROOM];
        size_t bytes;
        snprintf(copy, sizeof copy, "%s/copy.%s", f->folder, formats[i]);
        through_pipe(f, formats[i], 91, copy);
        probe_has(copy, "nb_read_frames=91");
        probe_has(copy, "has_b_frames=0");
        probe_colours(copy);
        char *keys = (char *)run(&bytes,
                                 "ffprobe -v error -select_streams v -show_entries packet=flags "
                                 "-of csv=p=0 '%s' | grep -c K",
                                 copy);
        if (atoi(keys) != 4) /* one a second, of three and a bit */
            fail_msg("%s: %s key frames", formats[i], keys);
        free(keys);
        if (i < 2) {
            unsigned char *data = read_file(copy, &bytes);
            assert_in_range(count_of(data, bytes, "moof"), 6, 8);
            free(data);
        }
    }
}

static void plain_through_pipe(void **state)
{
    struct fixture *f = *state;
    char copy[PATH_ROOM];
    size_t bytes;
    through_pipe(f, "rawvideo", 40, in(f, copy, "copy"));
    unsigned char *data = read_file(copy, &bytes), *rgb = make_rgb(39, 96, 64);
    assert_int_equal(bytes, 40 * 96 * 64 * 3);
    assert_memory_equal(data + 39 * 96 * 64 * 3, rgb, 96 * 64 * 3);
    free(rgb);
    free(data);
    through_pipe(f, "safetensors", 3, copy);
    check_tensor(copy, 96, 64, 3);
}

/* Bytes that have come through within a few seconds, until word is among them. */
static size_t wait_for(int fd, unsigned char *data, size_t room, size_t have, const char *word)
{
    const double end = seconds_now() + 5;
    while (!memmem(data, have, word, strlen(word)) && seconds_now() < end) {
        const ssize_t n = read(fd, data + have, room - have);
        if (n > 0)
            have += (size_t)n;
        else
            usleep(10000);
    }
    assert_non_null(memmem(data, have, word, strlen(word)));
    return have;
}

/* 8 frames in the encoder, 15 of the fragment or cluster, and the one that ends it. */
static void pipe_delay(void **state)
{
    struct fixture *f = *state;
    static const char *const formats[] = {"mp4", "mkv"}, *const starts[] = {"ftyp", "matroska"},
                             *const parts[] = {"mdat", "\x1f\x43\xb6\x75"};
    if (!has_format("mp4"))
        skip();
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_ROOM];
        enum { ROOM = 1 << 20 };
        unsigned char *data = malloc(ROOM);
        struct wf_sink *sink;
        struct wf_sink_config config = make_config(in(f, path, "pipe"), 96, 64, 0);
        assert_non_null(data);
        config.format = formats[i];
        unlink(path);
        assert_int_equal(mkfifo(path, 0666), 0);
        const int fd = open(path, O_RDONLY | O_NONBLOCK);
        assert_true(fd >= 0);
        assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
        assert_int_equal(write_frames(sink, &config, 1, &f->err), WF_OK);
        const size_t have = wait_for(fd, data, ROOM, 0, starts[i]);
        assert_int_equal(write_frames(sink, &config, 23, &f->err), WF_OK);
        wait_for(fd, data, ROOM, have, parts[i]);
        close(fd);
        wf_sink_abort(&sink);
        free(data);
    }
}

/* The reader of a pipe leaves: the next write or the end says so. */
static void broken_pipe(void **state)
{
    struct fixture *f = *state;
    static const char *const formats[] = {"rawvideo", "y4m", "safetensors", "mp4", "mkv"};
    for (size_t i = 0; i < 5; i++) {
        char path[PATH_ROOM];
        pthread_t thread;
        struct reader reader = {.path = in(f, path, "pipe"), .limit = 300};
        struct wf_sink_config config = make_config(path, 128, 128, 120);
        if (!has_format(formats[i]))
            continue;
        config.format = formats[i];
        unlink(path);
        assert_int_equal(mkfifo(path, 0666), 0);
        assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
        const enum wf_status status = write_clip(f, &config, 120);
        pthread_join(thread, NULL);
        free(reader.data);
        if (status != WF_FAILED || !strstr(f->err.text, "broken pipe"))
            fail_msg("%s: %d, %s", formats[i], (int)status, f->err.text);
        assert_int_equal(wf_mem_live_all(f->mem), 0);
    }
}

static bool stop_after_a_while(void *context)
{
    return ++*(int *)context > 3;
}

/* A reader that pauses fills the queue; abort, and a cancelled write or close, do not wait for it.
 */
static void paused_reader(void **state)
{
    struct fixture *f = *state;
    for (int use_close = 0; use_close < 2; use_close++) {
        char path[PATH_ROOM];
        pthread_t thread;
        int asked = 0;
        struct wf_sink *sink;
        struct reader reader = {.path = in(f, path, "pipe"), .limit = 1, .holds = true};
        struct wf_sink_config config = make_config(path, 256, 256, use_close ? 4 : 100);
        config.format = "rawvideo";
        config.queue_bytes = use_close ? 0 : 1;
        config.cancelled = stop_after_a_while;
        config.cancel_context = &asked;
        unlink(path);
        assert_int_equal(mkfifo(path, 0666), 0);
        assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
        assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
        const double start = seconds_now();
        const enum wf_status status = write_frames(sink, &config, config.frames, &f->err);
        if (use_close) {
            assert_int_equal(status, WF_OK);
            assert_int_equal(wf_sink_close(&sink, NULL, &f->err), WF_CANCELLED);
        } else {
            assert_int_equal(status, WF_CANCELLED);
            wf_sink_abort(&sink);
        }
        assert_true(seconds_now() - start < 10);
        atomic_store(&reader.released, true);
        pthread_join(thread, NULL);
        free(reader.data);
        assert_int_equal(wf_mem_live_all(f->mem), 0);
    }
}

static void standard_output(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM];
    struct wf_sink_config config = make_config("-", 33, 17, 2);
    config.format = "rawvideo";
    fflush(stdout);
    const int saved = dup(STDOUT_FILENO);
    const int file = open(in(f, path, "out"), O_CREAT | O_RDWR, 0666);
    assert_true(saved >= 0 && file >= 0);
    dup2(file, STDOUT_FILENO);
    const enum wf_status status = write_clip(f, &config, 2);
    close(STDOUT_FILENO);
    const enum wf_status closed = write_clip(f, &config, 2);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(file);
    assert_int_equal(status, WF_OK);
    assert_int_equal(closed, WF_REFUSED);
    size_t bytes;
    unsigned char *data = read_file(path, &bytes), *rgb = make_rgb(1, 33, 17);
    assert_int_equal(bytes, 2 * 33 * 17 * 3);
    assert_memory_equal(data + 33 * 17 * 3, rgb, 33 * 17 * 3);
    free(rgb);
    free(data);
}

/* --- failures --- */

static const char *const files[] = {
    "clip.rgb", "clip.y4m", "clip.safetensors", "clip.mp4", "clip.mkv", "clip.webm", "%d.png"};
static const char *const formats_of_files[] = {"rawvideo", "y4m",  "safetensors", "mp4",
                                               "mkv",      "webm", "png"};
enum { FILES = sizeof files / sizeof *files };

static void full_device(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < FILES - 1; i++) {
        struct wf_sink_config config = make_config("/dev/full", 96, 64, 3);
        config.format = formats_of_files[i];
        if (!has_format(config.format))
            continue;
        const enum wf_status status = write_clip(f, &config, 3);
        if (status != WF_FAILED || !strstr(f->err.text, "No space left"))
            fail_msg("%s: %d, %s", config.format, (int)status, f->err.text);
        assert_int_equal(wf_mem_live_all(f->mem), 0);
    }
}

/* A limit on a file's size, as a disk that fills up midway or at the very end. */
static void full_disk(void **state)
{
    struct fixture *f = *state;
    static const rlim_t limits[] = {0, 40, 700};
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    for (int i = 0; i < FILES; i++) {
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
            char path[PATH_ROOM];
            const struct rlimit limit = {limits[k], before.rlim_max};
            struct wf_sink_config config = make_config(in(f, path, files[i]), 128, 96, 8);
            if (!has_format(formats_of_files[i]))
                continue;
            setrlimit(RLIMIT_FSIZE, &limit);
            const enum wf_status status = write_clip(f, &config, 8);
            setrlimit(RLIMIT_FSIZE, &before);
            if (status != WF_FAILED)
                fail_msg("%s up to %d bytes: %d, %s", files[i], (int)limits[k], (int)status,
                         f->err.text);
            folder_is_empty(f);
            assert_int_equal(wf_mem_live_all(f->mem), 0);
        }
    }
}

static void short_memory(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < FILES; i++) {
        enum wf_status status = WF_FAILED;
        if (!has_format(formats_of_files[i]))
            continue;
        for (long nth = 1; status != WF_OK; nth++) {
            char path[PATH_ROOM];
            struct wf_sink_config config = make_config(in(f, path, files[i]), 32, 32, 3);
            config.queue_bytes = 1;
            wf_mem_fail_at(f->mem, nth);
            status = write_clip(f, &config, 3);
            wf_mem_fail_at(f->mem, 0);
            assert_int_equal(wf_mem_live_all(f->mem), 0);
            assert_true(nth < 200);
            if (status == WF_OK)
                break;
            assert_int_equal(status, WF_FAILED);
            assert_non_null(strstr(f->err.text, "out of memory"));
            folder_is_empty(f);
        }
        nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        mkdir(f->folder, 0777);
    }
}

static void another_count(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < FILES; i++) {
        char path[PATH_ROOM];
        struct wf_sink_config config = make_config(in(f, path, files[i]), 32, 32, 3);
        if (!has_format(formats_of_files[i]))
            continue;
        assert_int_equal(write_clip(f, &config, 2), WF_FAILED);
        folder_is_empty(f);
        config.frames = 0;
        assert_int_equal(write_clip(f, &config, 0), WF_FAILED);
        folder_is_empty(f);
    }
}

static void abort_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < FILES; i++) {
        char path[PATH_ROOM];
        struct wf_sink *sink;
        struct wf_sink_config config = make_config(in(f, path, files[i]), 64, 64, 30);
        if (!has_format(formats_of_files[i]))
            continue;
        for (int written = 0; written < 30; written += 14) {
            assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
            assert_int_equal(write_frames(sink, &config, written, &f->err), WF_OK);
            wf_sink_abort(&sink);
            assert_null(sink);
            folder_is_empty(f);
            assert_int_equal(wf_mem_live_all(f->mem), 0);
        }
    }
}

/* A file that comes under the name while the clip is made stays as it is. */
static void file_appears(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM];
    struct wf_sink *sink;
    struct wf_sink_config config = make_config(in(f, path, "clip.rgb"), 8, 8, 1);
    assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
    assert_int_equal(write_frames(sink, &config, 1, &f->err), WF_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("mine", file);
    fclose(file);
    assert_int_equal(wf_sink_close(&sink, NULL, &f->err), WF_FAILED);
    size_t bytes;
    unsigned char *data = read_file(path, &bytes);
    assert_int_equal(bytes, 4);
    assert_memory_equal(data, "mine", 4);
    free(data);
    int entries;
    assert_int_equal(entries_seen(f->folder, &entries), 1);
    assert_int_equal(entries, 1);
}

/* --- refusals --- */

static void refuse(struct fixture *f, const struct wf_sink_config *config, const char *words)
{
    const enum wf_status status = write_clip(f, config, 1);
    if (status != WF_REFUSED || !strstr(f->err.text, words))
        fail_msg("%s: %d, '%s' does not say '%s'", config->path ? config->path : "(none)",
                 (int)status, f->err.text, words);
    assert_int_equal(wf_mem_live_all(f->mem), 0);
}

static void refuse_path(struct fixture *f, const char *name, const char *words)
{
    char path[PATH_ROOM];
    const struct wf_sink_config config = make_config(in(f, path, name), 16, 16, 1);
    refuse(f, &config, words);
}

static void paths_refused(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM], link[PATH_ROOM], name[400];
    refuse_path(f, "missing/clip.rgb", "folder does not exist");
    refuse_path(f, "clip", "--format");
    refuse_path(f, "clip.avi", "y4m");
    refuse_path(f, "v1.rgb/clip", "--format");
    memset(name, 'a', 390);
    strcpy(name + 390, ".rgb");
    refuse_path(f, name, "too long");
    struct wf_sink_config config = make_config("-", 16, 16, 1);
    refuse(f, &config, "--format");
    config.path = NULL;
    refuse(f, &config, "--output");
    config.format = "rawvideo";
    refuse(f, &config, "--output");
    config.path = "";
    refuse(f, &config, "--output");
    config.format = "gif";
    refuse(f, &config, "y4m");
    config = make_config(f->folder, 16, 16, 1);
    config.format = "rawvideo";
    config.overwrite = true;
    refuse(f, &config, "folder");
    config.path = in(f, path, "new/");
    refuse(f, &config, "folder");
    assert_int_equal(symlink("nowhere", in(f, link, "link.rgb")), 0);
    refuse_path(f, "link.rgb", "link");
    unlink(link);
    folder_is_empty(f);
}

static void existing_file(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM], link[PATH_ROOM];
    struct stat info;
    struct wf_sink_config config = make_config(in(f, path, "clip.rgb"), 16, 16, 1);
    must_write(f, &config, 1);
    refuse(f, &config, "--overwrite");
    config.overwrite = true;
    config.width = 8;
    must_write(f, &config, 1);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 8 * 16 * 3);
    assert_int_equal(symlink("clip.rgb", in(f, link, "link.rgb")), 0);
    config.path = link;
    config.width = 4;
    must_write(f, &config, 1); /* through the link, which stays */
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 4 * 16 * 3);
    config.frames = 2;
    assert_int_equal(write_clip(f, &config, 1), WF_FAILED); /* what was there stays */
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 4 * 16 * 3);
}

static void long_name(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM], name[256];
    memset(name, 'a', 255);
    strcpy(name + 251, ".rgb");
    const struct wf_sink_config config = make_config(in(f, path, name), 16, 16, 1);
    must_write(f, &config, 1);
    assert_int_equal(access(path, F_OK), 0);
}

static void numbers_refused(void **state)
{
    struct fixture *f = *state;
    char path[PATH_ROOM];
    const struct wf_sink_config good = make_config(in(f, path, "clip.rgb"), 16, 16, 1);
    struct wf_sink_config config = good;
    config.width = 0;
    refuse(f, &config, "size");
    config.width = 1 << 20;
    refuse(f, &config, "size");
    config = good;
    config.frames = -1;
    refuse(f, &config, "frames");
    config = good;
    config.fps_num = 0;
    refuse(f, &config, "rate");
    config = good;
    config.codec = "libx264";
    refuse(f, &config, "--codec");
    config = good;
    config.crf = 20;
    refuse(f, &config, "--crf");
    config = good;
    config.preset = "fast";
    refuse(f, &config, "--preset");
    config = good;
    config.pix_fmt = "yuv420p";
    refuse(f, &config, "rgb24");
    config.format = "y4m";
    config.pix_fmt = "yuv422p";
    refuse(f, &config, "yuv420p or yuv444p");
    config = good;
    config.format = "safetensors";
    config.frames = INT64_MAX / 100;
    refuse(f, &config, "too many");
    config.path = "/dev/null";
    config.frames = 0;
    refuse(f, &config, "count");
    folder_is_empty(f);
}

static void codecs_refused(void **state)
{
    struct fixture *f = *state;
    if (!has_format("mp4"))
        skip();
    char path[PATH_ROOM];
    const struct wf_sink_config good = make_config(in(f, path, "clip.mp4"), 16, 16, 1);
    struct wf_sink_config config = good;
    config.width = 33;
    config.height = 17;
    refuse(f, &config, "34x18");
    config = good;
    config.codec = "nonsense";
    refuse(f, &config, "libx264");
    config.codec = "aac";
    refuse(f, &config, "libx264");
    config.codec = "ffv1";
    refuse(f, &config, "cannot hold");
    config = good;
    config.pix_fmt = "nonsense";
    refuse(f, &config, "yuv420p");
    config.pix_fmt = "rgb24";
    refuse(f, &config, "yuv420p");
    config.pix_fmt = "vaapi";
    refuse(f, &config, "yuv420p");
    config = good;
    config.crf = 52;
    refuse(f, &config, "0 to 51");
    config = good;
    config.preset = "warp";
    refuse(f, &config, "--preset");
    config = good;
    config.codec = "mpeg4";
    config.crf = 20;
    refuse(f, &config, "--crf");
    config.crf = -1;
    config.preset = "fast";
    refuse(f, &config, "--preset");
    config = good;
    config.format = "webm";
    config.codec = "libx264";
    refuse(f, &config, "libvpx-vp9");
    folder_is_empty(f);
}

static void patterns_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"a.png",     "a%.png",     "a%s.png",   "a%d%d.png",
                                      "a%n%d.png", "a%%%d.png",  "a%ld.png",  "a%-5d.png",
                                      "a%d%.png",  "a%005d.png", "a%99d.png", "a%*d.png",
                                      "%d/a.png",  "a%5",        "a%d%n.png"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[PATH_ROOM];
        struct wf_sink_config config = make_config(in(f, path, bad[i]), 16, 16, 1);
        config.format = "png";
        refuse(f, &config, "%d");
    }
    struct wf_sink_config config = make_config("-", 16, 16, 1);
    config.format = "png";
    refuse(f, &config, "standard output");
    refuse_path(f, "missing/%d.png", "folder does not exist");
    folder_is_empty(f);
}

static void formats_named(void **state)
{
    struct fixture *f = *state;
    char names[200], path[PATH_ROOM], *rest = names;
    snprintf(names, sizeof names, "%s", wf_sink_formats());
    int count = 0;
    for (char *name; (name = strsep(&rest, ", ")) != NULL;) {
        if (!*name)
            continue;
        struct wf_sink_config config = make_config(in(f, path, "clip-%d"), 32, 32, 1);
        config.format = name;
        config.overwrite = true;
        must_write(f, &config, 1);
        count++;
    }
    assert_true(count >= 4);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(raw_is_exact),
        T(rounding),
        T(tensor_file),
        T(y4m_is_bt709),
        T(null_writes_nothing),
        T(containers),
        T(other_codecs),
        T(y4m_is_read),
        T(png_is_exact),
        T(png_leaves_nothing),
        T(av_through_pipe),
        T(plain_through_pipe),
        T(pipe_delay),
        T(broken_pipe),
        T(paused_reader),
        T(standard_output),
        T(full_device),
        T(full_disk),
        T(short_memory),
        T(another_count),
        T(abort_leaves_nothing),
        T(file_appears),
        T(paths_refused),
        T(existing_file),
        T(long_name),
        T(numbers_refused),
        T(codecs_refused),
        T(patterns_refused),
        T(formats_named),
    };
    return cmocka_run_group_tests_name("sinks", tests, NULL, NULL);
}
