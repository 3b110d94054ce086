/* The sinks: what they write is read back here byte by byte, and nothing is left where something
   fails. What libav* makes is in test_sinks_av.c. */
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

#include "tests/sinks.h"

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
    assert_int_equal(wf_sink_close(&sink, NULL, &f->err), WF_OK);
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
    const struct planes planes = {full ? 1 : 2, full ? 1 : 2, 8};
    const enum matrix matrix = width >= 1280 || height >= 577 ? BT709 : BT601;
    const int length = snprintf(
        header, sizeof header, "YUV4MPEG2 W%d H%d F30000:1001 Ip A1:1 %s XCOLORRANGE=LIMITED\n",
        width, height, full ? "C444 XYSCSS=444" : "C420mpeg2 XYSCSS=420MPEG2");
    size_t bytes, n, at = (size_t)length;
    unsigned char *data = read_file(path, &bytes);
    assert_memory_equal(data, header, at);
    for (int t = 0; t < frames; t++) {
        unsigned char *rgb = make_rgb(t, width, height);
        double *yuv = make_yuv(rgb, width, height, planes, matrix, &n);
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

/* The matrix is the one that players assume of the size. */
static void y4m_is_what_players_assume(void **state)
{
    struct fixture *f = *state;
    check_y4m(f, 33, 17, 3, NULL);
    check_y4m(f, 32, 18, 1, "yuv420p");
    check_y4m(f, 1, 1, 1, NULL);
    check_y4m(f, 33, 17, 2, "yuv444p");
    check_y4m(f, 1279, 3, 1, NULL);
    check_y4m(f, 1280, 3, 1, NULL);
    check_y4m(f, 3, 576, 1, NULL);
    check_y4m(f, 3, 577, 1, "yuv444p");
}

static void null_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct wf_sink_config config = make_config(NULL, 8, 8, 3);
    config.format = "null";
    must_write(f, &config, 3);
    folder_is_empty(f);
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

static void plain_through_pipe(void **state)
{
    struct fixture *f = *state;
    char copy[PATH_ROOM];
    size_t bytes;
    struct wf_sink_config config = make_config(NULL, 96, 64, 40);
    config.format = "rawvideo";
    through_pipe(f, config, in(f, copy, "copy"));
    unsigned char *data = read_file(copy, &bytes), *rgb = make_rgb(39, 96, 64);
    assert_int_equal(bytes, 40 * 96 * 64 * 3);
    assert_memory_equal(data + 39 * 96 * 64 * 3, rgb, 96 * 64 * 3);
    free(rgb);
    free(data);
    config.format = "safetensors";
    config.frames = 3;
    through_pipe(f, config, copy);
    check_tensor(copy, 96, 64, 3);
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

/* While nothing reads, as many frames are taken as the queue has bytes for, and the one that is
   being written; their memory is all that is held. */
static void queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    enum { SIDE = 256, FRAME = SIDE * SIDE * 3, OTHERS = 1 << 16 };
    static const int limits[] = {1, 4, 9};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        char path[PATH_ROOM];
        int asked = 0, taken = 0;
        struct wf_sink *sink;
        struct wf_sink_config config = make_config(in(f, path, "pipe"), SIDE, SIDE, 100);
        config.format = "rawvideo";
        config.queue_bytes = (size_t)limits[i] * FRAME + FRAME / 2;
        config.cancelled = stop_after_a_while;
        config.cancel_context = &asked;
        unlink(path);
        assert_int_equal(mkfifo(path, 0666), 0);
        const int fd = open(path, O_RDONLY | O_NONBLOCK);
        assert_true(fd >= 0);
        assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
        wf_mem_peak_reset(f->mem);
        while (write_frames(sink, &config, 1, &f->err) == WF_OK)
            taken++;
        assert_int_equal(f->err.status, WF_CANCELLED);
        assert_in_range(taken, limits[i], limits[i] + 1);
        assert_in_range(wf_mem_peak(f->mem), limits[i] * FRAME, (limits[i] + 1) * FRAME + OTHERS);
        wf_sink_abort(&sink);
        close(fd);
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

/* --- what is told at the end --- */

static void statistics(void **state)
{
    struct fixture *f = *state;
    enum { W = 33, H = 17, FRAMES = 6 };
    static const struct {
        const char *file, *format, *codec, *pix_fmt;
        int64_t bytes; /* -1: of the encoder's making */
    } cases[] = {{"clip.rgb", "rawvideo", "", "rgb24", W * H * 3 * FRAMES},
                 {"clip.y4m", "y4m", "", "yuv420p",
                  (int64_t)sizeof "YUV4MPEG2 W33 H17 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 "
                                  "XCOLORRANGE=LIMITED" +
                      FRAMES * (6 + W * H + 2 * 17 * 9)},
                 {"clip.safetensors", "safetensors", "", "", -1},
                 {NULL, "null", "", "", 0},
                 {"%d.png", "png", "png", "rgb24", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[PATH_ROOM];
        struct wf_sink *sink;
        struct wf_sink_stats stats;
        struct wf_sink_config config =
            make_config(cases[i].file ? in(f, path, cases[i].file) : NULL, W, H, FRAMES);
        config.format = cases[i].format;
        if (!has_format(config.format))
            continue;
        assert_int_equal(wf_sink_open(&config, f->mem, &sink, &f->err), WF_OK);
        assert_int_equal(write_frames(sink, &config, FRAMES, &f->err), WF_OK);
        assert_int_equal(wf_sink_close(&sink, &stats, &f->err), WF_OK);
        const int64_t packets = cases[i].codec[0] ? FRAMES : 0;
        size_t frame = W * H * 3;
        if (strcmp(config.format, "safetensors") == 0)
            frame *= sizeof(float);
        assert_string_equal(stats.format, cases[i].format);
        assert_string_equal(stats.codec, cases[i].codec);
        assert_string_equal(stats.pix_fmt, cases[i].pix_fmt);
        assert_int_equal(stats.frames, FRAMES);
        assert_int_equal(stats.packets, packets);
        assert_int_equal(stats.key_frames, packets);
        if (cases[i].bytes >= 0)
            assert_int_equal(stats.bytes, cases[i].bytes);
        else
            assert_in_range(stats.bytes, 100, FRAMES * frame + 1000);
        assert_in_range(stats.queue_peak_bytes, frame, FRAMES * frame);
        assert_in_range(stats.queue_limit_bytes, 20 << 20, 24 << 20);
        assert_true(stats.seconds >= 0 && stats.quality < 0);
    }
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
    assert_non_null(strstr(f->err.text, "kept as"));
    assert_non_null(strstr(f->err.text, "clip-2.rgb"));
    data = read_file(in(f, path, "clip-2.rgb"), &bytes);
    assert_int_equal(bytes, 8 * 8 * 3);
    free(data);
    int entries;
    assert_int_equal(entries_seen(f->folder, &entries), 1);
    assert_int_equal(entries, 2);
}

/* --- refusals --- */

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

static void patterns_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"a.png",     "a%.png",     "a%s.png",   "a%d%d.png",
                                      "a%n%d.png", "a%%d.png",   "a%ld.png",  "a%-5d.png",
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

#define T(name) cmocka_unit_test_setup_teardown(name, sinks_setup, sinks_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(raw_is_exact),
        T(rounding),
        T(tensor_file),
        T(y4m_is_what_players_assume),
        T(null_writes_nothing),
        T(png_leaves_nothing),
        T(plain_through_pipe),
        T(broken_pipe),
        T(paused_reader),
        T(queue_is_bounded),
        T(standard_output),
        T(statistics),
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
        T(patterns_refused),
        T(formats_named),
    };
    return cmocka_run_group_tests_name("sinks", tests, NULL, NULL);
}
