/* A PNG a frame, by libpng, numbered from 1 by the pattern in the path. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "io/part.h"
#include "io/pattern.h"
#include "io/video/driver.h"

enum {
    CHECKED_BEFORE = 100000, /* pictures looked for at opening; those after it, when written */
    COMPRESSION = 3,         /* the default takes three times as long for 5 % */
};

struct png {
    struct wf_mem *mem;
    struct wf_pattern pattern;
    char *name;     /* room for the pattern with a number in it */
    char *metadata; /* NULL: none */
    bool overwrite, finished;
    int64_t frames; /* announced; 0: not known */
    int64_t written, bytes;
    struct wf_error elsewhere; /* of the first picture that has another name than its own */
    double seconds;            /* in the encoder */
    int width, height;
};

/* --- names --- */

static void make_name(struct png *png, int64_t frame)
{
    wf_pattern_name(&png->pattern, frame, png->name);
}

/* Opens each picture that is announced and removes it again: existing files and folders that cannot
   be written are found before anything is computed. */
static enum wf_status check_names(struct png *png, int64_t frames, const struct wf_file_set *inputs,
                                  struct wf_error *err)
{
    const int64_t announced = frames > 0 ? frames : 1;
    const int64_t count = announced < CHECKED_BEFORE ? announced : CHECKED_BEFORE;
    for (int64_t i = 1; i <= count; i++) {
        struct wf_output *output;
        make_name(png, i);
        WF_TRY(wf_output_open(png->name, png->overwrite, inputs, png->mem, &output, err));
        wf_output_discard(&output);
    }
    return WF_OK;
}

static enum wf_status open_names(struct png *png, const struct wf_sink_config *config,
                                 struct wf_error *err)
{
    if (strcmp(config->path, "-") == 0)
        return wf_fail(err, WF_REFUSED,
                       "standard output: cannot take png, which is a file a frame; "
                       "name them like frame-%%05d.png");
    png->overwrite = config->overwrite;
    WF_TRY(wf_pattern_parse(config->path, WF_PATTERN_FRAMES, png->mem, &png->pattern, err));
    const size_t room = wf_pattern_room(&png->pattern);
    png->name = wf_alloc(png->mem, WF_MEM_MISC, room);
    if (!png->name)
        return wf_fail_memory(err, "output", room);
    png->frames = config->frames;
    wf_part_sweep(png->pattern.text, png->pattern.at, png->pattern.end);
    return check_names(png, config->frames, config->inputs, err);
}

/* --- the encoder --- */

/* A picture that is being written, libpng's view of it, and what went wrong. */
struct picture {
    struct png *png;
    struct wf_output *output;
    struct wf_error *err;
    enum wf_status status;
    png_structp writer;
    png_infop info;
};

static png_voidp take_memory(png_structp writer, png_alloc_size_t bytes)
{
    struct picture *p = png_get_mem_ptr(writer);
    void *memory = wf_alloc(p->png->mem, WF_MEM_MISC, bytes);
    if (!memory)
        p->status = wf_fail_memory(p->err, "output", bytes);
    return memory;
}

static void give_memory(png_structp writer, png_voidp memory)
{
    (void)writer;
    wf_free(memory);
}

static void write_bytes(png_structp writer, png_bytep data, size_t bytes)
{
    struct picture *p = png_get_io_ptr(writer);
    const double start = wf_clock();
    p->status = wf_output_write(p->output, data, bytes, p->err);
    p->png->bytes += (int64_t)bytes;
    p->png->seconds -= wf_clock() - start;
    if (p->status != WF_OK)
        png_longjmp(writer, 1);
}

/* wf_output has no buffer that would have to be emptied. */
static void flush_bytes(png_structp writer)
{
    (void)writer;
}

/* libpng expects no return from an error. */
static void fail_encoder(png_structp writer, png_const_charp text)
{
    struct picture *p = png_get_error_ptr(writer);
    if (p->status == WF_OK) /* else it is the consequence of what is told already */
        p->status = wf_fail(p->err, WF_FAILED,
                            "output: the png encoder failed: %.200s; choose another format", text);
    png_longjmp(writer, 1);
}

static void ignore_warning(png_structp writer, png_const_charp text)
{
    (void)writer, (void)text;
}

/* As UTF-8, in each picture. */
static void put_metadata(const struct picture *p)
{
    char key[] = "weft";
    png_text text = {.compression = PNG_ITXT_COMPRESSION_NONE, .key = key};
    if (!p->png->metadata)
        return;
    text.text = p->png->metadata;
    png_set_text(p->writer, p->info, &text, 1);
}

static void encode_rows(const struct picture *p, const unsigned char *rgb)
{
    const struct png *png = p->png;
    png_set_write_fn(p->writer, (png_voidp)(uintptr_t)p, write_bytes, flush_bytes);
    png_set_compression_level(p->writer, COMPRESSION);
    png_set_IHDR(p->writer, p->info, (png_uint_32)png->width, (png_uint_32)png->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    put_metadata(p);
    png_write_info(p->writer, p->info);
    for (int y = 0; y < png->height; y++)
        png_write_row(p->writer, rgb + (size_t)y * 3 * (size_t)png->width);
    png_write_end(p->writer, NULL);
}

/* Every picture has a writer of its own: libpng's cannot be used twice. */
static enum wf_status encode(struct png *png, struct wf_output *output, const unsigned char *rgb,
                             struct wf_error *err)
{
    struct picture p = {.png = png, .output = output, .err = err};
    p.writer = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &p, fail_encoder, ignore_warning,
                                         &p, take_memory, give_memory);
    p.info = p.writer ? png_create_info_struct(p.writer) : NULL;
    if (!p.info && p.status == WF_OK)
        p.status = wf_fail(err, WF_FAILED,
                           "output: libpng is not the one that weft was built with; build again");
    else if (p.info && setjmp(png_jmpbuf(p.writer)) == 0)
        encode_rows(&p, rgb);
    png_destroy_write_struct(&p.writer, &p.info);
    return p.status;
}

/* --- the driver --- */

static void remove_pictures(struct png *png)
{
    for (int64_t i = 1; i <= png->written; i++) {
        make_name(png, i);
        remove(png->name);
    }
}

static void png_close(void *state)
{
    struct png *png = state;
    if (!png->finished && png->elsewhere.status == WF_OK) /* else a name may be another's file */
        remove_pictures(png);
    wf_free(png->name);
    wf_free(png->metadata);
    wf_free(png->pattern.text);
    wf_free(png);
}

static enum wf_status png_open(const struct wf_sink_driver *driver,
                               const struct wf_sink_config *config, struct wf_output *output,
                               struct wf_mem *mem, void **state, struct wf_error *err)
{
    (void)driver, (void)output;
    *state = NULL;
    struct png *png = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *png);
    if (!png)
        return wf_fail_memory(err, "output", sizeof *png);
    png->mem = mem;
    png->width = config->width;
    png->height = config->height;
    enum wf_status status = open_names(png, config, err);
    if (status == WF_OK && config->metadata && !(png->metadata = wf_strdup(mem, config->metadata)))
        status = wf_fail_memory(err, "output", strlen(config->metadata));
    if (status != WF_OK)
        png_close(png);
    else
        *state = png;
    return status;
}

static enum wf_status write_picture(struct png *png, const unsigned char *rgb, struct wf_error *err)
{
    struct wf_output *output;
    make_name(png, png->written + 1);
    WF_TRY(wf_output_open(png->name, png->overwrite, NULL, png->mem, &output, err));
    const double start = wf_clock();
    const enum wf_status status = encode(png, output, rgb, err);
    png->seconds += wf_clock() - start;
    if (status != WF_OK) {
        wf_output_discard(&output);
        return status;
    }
    bool kept;
    struct wf_error failure = {.status = WF_OK};
    if (wf_output_commit(&output, &kept, &failure) != WF_OK) {
        if (!kept) {
            if (err)
                *err = failure;
            return failure.status;
        }
        if (png->elsewhere.status == WF_OK)
            png->elsewhere = failure; /* told at the end: the clip goes on */
    }
    png->written++;
    return WF_OK;
}

static enum wf_status png_write(void *state, const void *frame, struct wf_error *err)
{
    return wf_fail_late(write_picture(state, frame, err), err);
}

static enum wf_status png_finish(void *state, struct wf_error *err)
{
    struct png *png = state;
    png->finished = true;
    if (png->elsewhere.status != WF_OK && err)
        *err = png->elsewhere;
    return png->elsewhere.status;
}

static bool png_writes(void *state, const char *path)
{
    struct png *png = state;
    bool found = false;
    for (int64_t i = 1; !found && i <= png->frames; i++) {
        make_name(png, i);
        found = wf_file_same(png->name, path);
    }
    return found;
}

static void png_count(const void *state, struct wf_sink_stats *stats)
{
    const struct png *png = state;
    strcpy(stats->codec, "png");
    strcpy(stats->pix_fmt, "rgb24");
    stats->bytes = png->bytes;
    stats->packets = png->written;
    stats->key_frames = png->written;
    stats->encode_seconds = png->seconds;
}

const struct wf_sink_driver wf_sink_png = {
    .name = "png",
    .extensions = "png",
    .form = WF_SINK_RGB24,
    .flags = WF_SINK_SERIES,
    .pix_fmts = {"rgb24"},
    .open = png_open,
    .write = png_write,
    .finish = png_finish,
    .count = png_count,
    .writes = png_writes,
    .close = png_close,
};
