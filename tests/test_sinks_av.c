/* The sinks that libav* is behind: what they write is read back by the ffmpeg program where it is
   installed, from files and out of pipes. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/video/driver.h"
#include "tests/sinks.h"

static const struct planes yuv420 = {2, 2, 8}, yuv444 = {1, 1, 8};

/* --- tools --- */

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

/* A number that ffprobe tells of the stream or the container. */
static double probe_number(const char *path, const char *entry)
{
    size_t bytes;
    char *out =
        (char *)run(&bytes, "ffprobe -v error -select_streams v -show_entries %s -of csv=p=0 '%s'",
                    entry, path);
    double value = -1;
    if (sscanf(out, "%lf", &value) != 1)
        fail_msg("%s: %s is '%s'", path, entry, out);
    free(out);
    return value;
}

static double sample_at(const unsigned char *data, size_t i, int bits)
{
    return bits > 8 ? data[2 * i] + 256.0 * data[2 * i + 1] : data[i];
}

/* Of the whole clip, in its own pixel format. */
static double psnr_in(const char *path, const struct wf_sink_config *config, struct planes planes,
                      enum matrix matrix)
{
    const int width = config->width, height = config->height;
    const double top = (1 << planes.bits) - 1;
    const size_t wide = planes.bits > 8 ? 2 : 1;
    size_t bytes, n = 0;
    double sum = 0;
    unsigned char *data = run(&bytes,
                              "ffmpeg -v error -i '%s' -f rawvideo -pix_fmt %s -fps_mode "
                              "passthrough -",
                              path, config->pix_fmt ? config->pix_fmt : "yuv420p");
    for (int t = 0; t < config->frames; t++) {
        unsigned char *rgb = make_rgb(t, width, height);
        double *yuv = make_yuv(rgb, width, height, planes, matrix, &n);
        assert_int_equal(bytes, n * wide * (size_t)config->frames);
        for (size_t i = 0; i < n; i++)
            sum += pow(sample_at(data, (size_t)t * n + i, planes.bits) - yuv[i], 2);
        free(yuv);
        free(rgb);
    }
    free(data);
    return 10 * log10(top * top * (double)n * (double)config->frames / sum);
}

static double psnr(const char *path, const struct wf_sink_config *config, struct planes planes)
{
    return psnr_in(path, config, planes, BT709);
}

/* In a process that ends without a look at its heap, of which x265 leaves a piece behind. True if
   this FFmpeg has the codec. A pipe is read here, to the file `copy`. */
static bool write_in_child(struct fixture *f, const struct wf_sink_config *config, const char *copy)
{
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("SVT_LOG", "0", 1);
        const enum wf_status status = write_clip(f, config, config->frames);
        _exit(status == WF_REFUSED && strstr(f->err.text, "no video encoder") ? 77 : (int)status);
    }
    struct reader reader = {.path = config->path};
    if (copy) {
        read_pipe(&reader);
        FILE *file = fopen(copy, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(reader.data, 1, reader.bytes, file), reader.bytes);
        fclose(file);
        free(reader.data);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 77))
        fail_msg("%s: ended with %d", config->path, status);
    return WEXITSTATUS(status) == 0;
}

/* --- what is read is what was sent --- */

static void check_av(struct fixture *f, const char *name, int crf, int frames, const char *pix_fmt)
{
    char path[PATH_ROOM], line[64];
    struct wf_sink_config config = make_config(in(f, path, name), 96, 64, frames);
    config.crf = crf;
    config.pix_fmt = pix_fmt;
    config.overwrite = true;
    must_write(f, &config, frames);
    const double db = psnr(path, &config, pix_fmt ? yuv444 : yuv420);
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

/* Each encoder through files and pipes, at sizes, rates and pixel formats of their own. */
static const struct encoding {
    const char *format, *codec, *pix_fmt;
    struct planes planes;
    int width, height, frames, fps_num, fps_den;
} encodings[] = {
    {"mp4", "libx264", "yuv420p", {2, 2, 8}, 80, 48, 37, 24000, 1001},
    {"mkv", "libx264", "yuv444p10le", {1, 1, 10}, 33, 17, 9, 16, 1},
    {"mov", "libx264", "yuv422p", {2, 1, 8}, 50, 31, 12, 15, 2},
    {"mp4", "libx265", "yuv420p", {2, 2, 8}, 112, 80, 20, 30000, 1001},
    {"mp4", "libx265", "yuv420p10le", {2, 2, 10}, 48, 32, 20, 24, 1},
    {"mkv", "libx265", "yuv444p", {1, 1, 8}, 34, 18, 7, 7, 1},
    {"webm", "libvpx-vp9", "yuv420p", {2, 2, 8}, 33, 17, 40, 24000, 1001},
    {"webm", "libvpx-vp9", "yuv444p10le", {1, 1, 10}, 70, 50, 8, 25, 1},
    {"mkv", "libvpx-vp9", "yuv440p", {1, 2, 8}, 48, 35, 8, 12, 1},
    {"webm", "libsvtav1", "yuv420p", {2, 2, 8}, 98, 66, 35, 30000, 1001},
    {"mp4", "libsvtav1", "yuv420p10le", {2, 2, 10}, 64, 64, 20, 16, 1},
    {"webm", "libaom-av1", "yuv420p", {2, 2, 8}, 47, 29, 6, 8, 1},
    {"mkv", "ffv1", "yuv420p", {2, 2, 8}, 1, 5, 3, 8, 1},
};

static struct wf_sink_config config_of(const struct encoding *e, const char *path)
{
    struct wf_sink_config config = make_config(path, e->width, e->height, e->frames);
    config.format = e->format;
    config.codec = e->codec;
    config.pix_fmt = e->pix_fmt;
    config.fps_num = e->fps_num;
    config.fps_den = e->fps_den;
    config.crf = strcmp(e->codec, "ffv1") == 0 ? -1 : 12;
    config.overwrite = true;
    return config;
}

static void check_encoding(const struct encoding *e, const struct wf_sink_config *config,
                           const char *path, bool piped)
{
    char line[64];
    const double db = psnr(path, config, e->planes);
    print_message("%s %s %s %dx%d %s: %.2f dB\n", e->format, e->codec, e->pix_fmt, e->width,
                  e->height, piped ? "pipe" : "file", db);
    assert_true(db >= 45);
    probe_colours(path);
    snprintf(line, sizeof line, "width=%d\nheight=%d", e->width, e->height);
    probe_has(path, line);
    snprintf(line, sizeof line, "pix_fmt=%s\n", e->pix_fmt);
    probe_has(path, line);
    snprintf(line, sizeof line, "avg_frame_rate=%d/%d\n", e->fps_num, e->fps_den);
    probe_has(path, line);
    snprintf(line, sizeof line, "nb_read_frames=%d\n", e->frames);
    probe_has(path, line);
    if (piped)
        probe_has(path, "has_b_frames=0");
}

static void encoders(void **state)
{
    struct fixture *f = *state;
    need("mp4");
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        const struct encoding *e = &encodings[i];
        char path[PATH_ROOM], copy[PATH_ROOM];
        struct wf_sink_config config = config_of(e, in(f, path, "clip"));
        unlink(path);
        if (!write_in_child(f, &config, NULL))
            continue;
        check_encoding(e, &config, path, false);
        unlink(path);
        assert_int_equal(mkfifo(path, 0666), 0);
        assert_true(write_in_child(f, &config, in(f, copy, "copy")));
        check_encoding(e, &config, copy, true);
    }
}

/* The sum of the frames to the tick in mp4 and mov, to the millisecond that they count in
   matroska; a single frame lasts too. */
static void durations(void **state)
{
    struct fixture *f = *state;
    static const int rates[][2] = {{24000, 1001}, {30000, 1001}, {60000, 1001}, {15, 2}, {119, 9}};
    static const char *const formats[] = {"mp4", "mov", "mkv"};
    need("mp4");
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        for (int k = 0; k < 6; k++) {
            char path[PATH_ROOM];
            const bool piped = k >= 3, exact = k % 3 < 2;
            const int frames = i % 2 ? 1 : 19;
            struct wf_sink_config config = make_config(in(f, path, "clip"), 32, 16, frames);
            config.format = formats[k % 3];
            config.fps_num = rates[i][0];
            config.fps_den = rates[i][1];
            config.overwrite = true;
            if (piped && !exact)
                continue; /* says no duration: it did not know it */
            if (piped)
                through_pipe(f, config, in(f, path, "copy"));
            else
                must_write(f, &config, frames);
            const double seconds =
                probe_number(path, exact ? "stream=duration" : "format=duration");
            const double expected = (double)frames * config.fps_den / config.fps_num;
            if (fabs(seconds - expected) > (exact ? 1.5e-6 : 1.5e-3))
                fail_msg("%s %d/%d %s: %f instead of %f", config.format, config.fps_num,
                         config.fps_den, piped ? "pipe" : "file", seconds, expected);
        }
    }
}

static void other_codecs(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *file, *codec, *pix_fmt, *expected;
    } cases[] = {{"hevc.mp4", "libx265", NULL, "codec_tag_string=hvc1"},
                 {"lossless.mkv", "ffv1", "yuv444p10le", "pix_fmt=yuv444p10le"},
                 {"huffman.mkv", "ffvhuff", "yuv420p", "codec_name=ffvhuff"},
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
        if (!write_in_child(f, &config, NULL))
            continue;
        probe_has(path, cases[i].expected);
        probe_has(path, "nb_read_frames=6");
    }
}

/* A lower crf is a better picture, down to the lowest. */
static void lowest_crf(void **state)
{
    struct fixture *f = *state;
    static const char *const codecs[] = {"libx264", "libvpx-vp9", "libsvtav1"};
    need("mp4");
    for (size_t i = 0; i < 3; i++) {
        char path[PATH_ROOM];
        double db[2] = {0};
        struct wf_sink_config config = make_config(in(f, path, "clip.mkv"), 96, 64, 4);
        config.codec = codecs[i];
        config.overwrite = true;
        for (int k = 0; k < 2; k++) {
            config.crf = k ? 12 : 0;
            if (write_in_child(f, &config, NULL))
                db[k] = psnr(path, &config, yuv420);
        }
        assert_true(db[0] >= db[1]);
    }
}

/* Without loss of the encoder's it is y4m's picture, sample by sample. */
static void same_as_y4m(void **state)
{
    struct fixture *f = *state;
    static const char *const pix_fmts[] = {"yuv420p", "yuv444p"};
    enum { W = 1281, H = 21, FRAMES = 3 }; /* wide enough for y4m to be BT.709 too */
    need("mkv");
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_ROOM];
        size_t bytes[2];
        unsigned char *planes[2];
        for (int k = 0; k < 2; k++) {
            struct wf_sink_config config =
                make_config(in(f, path, k ? "clip.y4m" : "clip.mkv"), W, H, FRAMES);
            config.codec = k ? NULL : "ffv1";
            config.pix_fmt = pix_fmts[i];
            config.overwrite = true;
            must_write(f, &config, FRAMES);
            planes[k] = run(&bytes[k], "ffmpeg -v error -i '%s' -f rawvideo -pix_fmt %s -", path,
                            pix_fmts[i]);
        }
        assert_true(bytes[0] > W * H * FRAMES);
        assert_int_equal(bytes[0], bytes[1]);
        assert_memory_equal(planes[0], planes[1], bytes[0]);
        free(planes[0]);
        free(planes[1]);
    }
}

/* Layouts of one picture: planes, pairs of colour, everything in one plane, more bits. */
static void layouts(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *codec, *pix_fmt, *read_as;
        struct planes planes;
    } cases[] = {{"libx264", "nv12", "yuv420p", {2, 2, 8}},
                 {"libx264", "nv21", "yuv420p", {2, 2, 8}},
                 {"rawvideo", "yuyv422", "yuv422p", {2, 1, 8}},
                 {"rawvideo", "uyvy422", "yuv422p", {2, 1, 8}},
                 {"ffv1", "yuv422p16le", "yuv422p16le", {2, 1, 16}},
                 {"ffv1", "yuv440p12le", "yuv440p12le", {1, 2, 12}},
                 {"ffv1", "yuv444p9le", "yuv444p9le", {1, 1, 9}}};
    need("mkv");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[PATH_ROOM];
        struct wf_sink_config config = make_config(in(f, path, "clip.mkv"), 38, 22, 2);
        config.codec = cases[i].codec;
        config.pix_fmt = cases[i].pix_fmt;
        config.crf = strcmp(cases[i].codec, "libx264") == 0 ? 0 : -1;
        config.overwrite = true;
        must_write(f, &config, 2);
        config.pix_fmt = cases[i].read_as;
        const double db = psnr(path, &config, cases[i].planes);
        if (db < 58) /* nothing but rounding */
            fail_msg("%s: %f dB", cases[i].pix_fmt, db);
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
    assert_true(psnr_in(path, &config, yuv420, BT601) > 55);
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

/* What a player gets from standard input, in each form that a pipe can take. */
static void read_from_a_pipe(void **state)
{
    struct fixture *f = *state;
    static const char *const formats[] = {"y4m", "mp4", "mov", "mkv", "webm"};
    need("mp4");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char copy[PATH_ROOM];
        size_t bytes;
        struct wf_sink_config config = make_config(NULL, 46, 26, 21);
        config.format = formats[i];
        through_pipe(f, config, in(f, copy, "copy"));
        unsigned char *data = run(&bytes,
                                  "cat '%s' | ffmpeg -v error -i - -f rawvideo -pix_fmt yuv420p "
                                  "-fps_mode passthrough -",
                                  copy);
        assert_int_equal(bytes, 21 * (46 * 26 + 2 * 23 * 13));
        free(data);
    }
}

/* --- pipes --- */

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
        struct wf_sink_config config = make_config(NULL, 96, 64, 91);
        config.format = formats[i];
        snprintf(copy, sizeof copy, "%s/copy.%s", f->folder, formats[i]);
        through_pipe(f, config, copy);
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
            assert_int_equal(count_of(data, bytes, "moof"), 8);
            free(data);
        }
    }
}

static uint64_t big_endian(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* Movie fragments with all of their data. */
static int whole_fragments(const unsigned char *data, size_t bytes)
{
    int n = 0;
    bool has_moof = false;
    for (size_t at = 0; at + 8 <= bytes;) {
        const uint64_t size = big_endian(data + at, 4);
        if (size < 8 || at + size > bytes)
            break;
        n += has_moof && memcmp(data + at + 4, "mdat", 4) == 0;
        has_moof = memcmp(data + at + 4, "moof", 4) == 0;
        at += size;
    }
    return n;
}

/* Matroska's clusters: the identifier, a number with its length in its first bits, the data. */
static int whole_clusters(const unsigned char *data, size_t bytes)
{
    int n = 0;
    const unsigned char *end = data + bytes, *at = data;
    while ((at = memmem(at, (size_t)(end - at), "\x1f\x43\xb6\x75", 4)) && end - at > 12) {
        at += 4;
        const int length = __builtin_clz((unsigned)*at << 24 | 1) + 1;
        const uint64_t size = big_endian(at, length) & ((1ull << 7 * length) - 1);
        if (size > (uint64_t)(end - at) - (uint64_t)length)
            break;
        at += (size_t)length + size;
        n++;
    }
    return n;
}

/* Parts that have come out of a pipe whole after each frame: parts[t] after t + 1 of them, and
   parts[frames] at the end. No thread and no clock: the driver is called as the writing thread
   calls it. */
static void count_parts(struct fixture *f, const struct wf_sink_driver *driver, int fps_num,
                        int fps_den, int frames, int *parts)
{
    enum { ROOM = 1 << 20, WIDTH = 64, HEIGHT = 48 };
    char path[PATH_ROOM];
    struct wf_output *output;
    void *sink;
    size_t have = 0;
    struct wf_sink_config config = make_config(in(f, path, "pipe"), WIDTH, HEIGHT, frames);
    config.fps_num = fps_num;
    config.fps_den = fps_den;
    unsigned char *data = malloc(ROOM);
    assert_non_null(data);
    unlink(path);
    assert_int_equal(mkfifo(path, 0666), 0);
    const int fd = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(wf_output_open(path, false, NULL, f->mem, &output, &f->err), WF_OK);
    assert_int_equal(driver->open(driver, &config, output, f->mem, &sink, &f->err), WF_OK);
    for (int t = 0; t <= frames; t++) {
        unsigned char *rgb = make_rgb(t, WIDTH, HEIGHT);
        assert_int_equal(
            t < frames ? driver->write(sink, rgb, &f->err) : driver->finish(sink, &f->err), WF_OK);
        free(rgb);
        const ssize_t n = read(fd, data + have, ROOM - have);
        have += n > 0 ? (size_t)n : 0;
        parts[t] = memcmp(data + 4, "ftyp", 4) == 0 ? whole_fragments(data, have)
                                                    : whole_clusters(data, have);
    }
    driver->close(sink);
    wf_output_discard(&output);
    close(fd);
    free(data);
}

/* Of a clip of two seconds the first frame comes before a third of them are made, and parts of half
   a second follow at the pace of the frames. */
static void parts_by_frames(void **state)
{
    struct fixture *f = *state;
    if (!has_format("mp4"))
        skip();
    static const struct wf_sink_driver *const drivers[] = {&wf_sink_mp4, &wf_sink_mov, &wf_sink_mkv,
                                                           &wf_sink_webm};
    static const int rates[][2] = {{8, 1}, {12, 1}, {16, 1}, {24000, 1001}, {25, 1}, {60, 1}};
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
            const int second = (rates[k][0] + rates[k][1] - 1) / rates[k][1];
            const int frames = 2 * second + 1, half = (second + 1) / 2;
            int parts[128];
            count_parts(f, drivers[i], rates[k][0], rates[k][1], frames, parts);
            if (parts[frames / 3 - 1] < 1)
                fail_msg("%s at %d/%d: nothing after %d of %d frames", drivers[i]->name,
                         rates[k][0], rates[k][1], frames / 3, frames);
            for (int t = 8; t < frames; t++) /* 8 frames at most are looked ahead at */
                assert_true(parts[t] >= 1 + (t + 1 - 8) / half);
            assert_int_equal(parts[frames], 6);
        }
    }
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

/* --- what is told at the end --- */

static void statistics(void **state)
{
    struct fixture *f = *state;
    if (!has_format("mp4"))
        skip();
    static const struct {
        const char *file, *codec;
        bool rates;
    } cases[] = {{"clip.mp4", "libx264", true}, {"clip.webm", "libvpx-vp9", false}};
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_ROOM];
        struct stat info;
        struct wf_sink *sink;
        struct wf_sink_stats stats;
        struct wf_sink_config config = make_config(in(f, path, cases[i].file), 64, 48, 40);
        config.queue_bytes = 3 * 64 * 48 * 3;
        assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
        assert_int_equal(write_frames(sink, &config, 40, &f->err), WF_OK);
        assert_int_equal(wf_sink_close(&sink, &stats, &f->err), WF_OK);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(stats.bytes, info.st_size);
        assert_int_equal(stats.frames, 40);
        assert_int_equal(stats.packets, 40);
        assert_int_equal(stats.key_frames, 1);
        assert_string_equal(stats.codec, cases[i].codec);
        assert_string_equal(stats.pix_fmt, "yuv420p");
        assert_string_equal(stats.format, strrchr(path, '.') + 1);
        assert_true(stats.encode_seconds > 0 && stats.encode_seconds <= stats.seconds);
        assert_in_range(stats.queue_peak_bytes, 64 * 48 * 3, config.queue_bytes);
        assert_int_equal(stats.queue_limit_bytes, config.queue_bytes);
        if (cases[i].rates)
            assert_true(stats.quality >= 5 && stats.quality <= 40);
    }
}

/* --- refusals --- */

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

static void odd_sizes(void **state)
{
    struct fixture *f = *state;
    if (!has_format("mp4"))
        skip();
    static const struct {
        const char *pix_fmt, *words;
        int width, height;
    } cases[] = {{"yuv420p", "34x18", 33, 17},
                 {"yuv420p", "4x6", 3, 5},
                 {"yuv422p", "34x17", 33, 17},
                 {"yuv420p10le", "64x34", 64, 33}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[PATH_ROOM];
        struct wf_sink_config config =
            make_config(in(f, path, "clip.mp4"), cases[i].width, cases[i].height, 1);
        config.pix_fmt = cases[i].pix_fmt;
        refuse(f, &config, cases[i].words);
        refuse(f, &config, "--pix-fmt yuv444p");
    }
    folder_is_empty(f);
}

/* FFmpeg would write a file that it cannot read. */
static void container_refuses(void **state)
{
    struct fixture *f = *state;
    if (!has_format("mp4"))
        skip();
    char path[PATH_ROOM];
    struct wf_sink_config config = make_config(in(f, path, "clip.mp4"), 32, 32, 1);
    config.codec = "libvpx-vp9";
    config.pix_fmt = "yuv440p";
    refuse(f, &config, "yuv440p");
    folder_is_empty(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, sinks_setup, sinks_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(containers),        T(encoders),         T(durations),       T(other_codecs),
        T(lowest_crf),        T(same_as_y4m),      T(layouts),         T(y4m_is_read),
        T(png_is_exact),      T(read_from_a_pipe), T(av_through_pipe), T(parts_by_frames),
        T(pipe_delay),        T(statistics),       T(codecs_refused),  T(odd_sizes),
        T(container_refuses),
    };
    return cmocka_run_group_tests_name("sinks of libav*", tests, NULL, NULL);
}
