/* A PNG a frame, by libavcodec's encoder, numbered from 1 by the pattern in the path. */
#include <stdio.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>

#include "io/video/driver.h"

enum {
    DIGITS = 20,             /* of a frame's number at most */
    CHECKED_BEFORE = 100000, /* pictures looked for at opening; those after it, when written */
};

struct png {
    struct wf_mem *mem;
    char *pattern, *name; /* name: room for the pattern with a number in it */
    size_t name_room, number_at, number_end;
    int digits; /* of the number at least, padded with zeros */
    bool overwrite, finished;
    int64_t written, bytes;
    double seconds; /* in the encoder */
    AVCodecContext *codec;
    AVFrame *picture;
    AVPacket *packet;
};

/* --- names --- */

/* The one conversion, %d or %05d, in the file's own name. What stands in the folder is as it is. */
static enum wf_status parse_pattern(struct png *png, struct wf_error *err)
{
    const char *slash = strrchr(png->pattern, '/'), *base = slash ? slash + 1 : png->pattern;
    const char *percent = strchr(base, '%');
    const char *end = percent ? percent + 1 : base;
    int digits = 0, seen = 0;
    for (; *end >= '0' && *end <= '9' && seen < 2; end++, seen++)
        digits = 10 * digits + (*end - '0');
    if (!percent || *end != 'd' || digits > DIGITS || strchr(end, '%'))
        return wf_fail(err, WF_REFUSED,
                       "%.200s: must hold one %%d (or %%05d), and no other %%, for the number of "
                       "the frame; write it like frame-%%05d.png",
                       base);
    png->number_at = (size_t)(percent - png->pattern);
    png->number_end = (size_t)(end - png->pattern) + 1;
    png->digits = digits;
    return WF_OK;
}

static void make_name(struct png *png, int64_t frame)
{
    char number[DIGITS + 4];
    const int n = snprintf(number, sizeof number, "%0*lld", png->digits, (long long)frame);
    const size_t length = n > 0 ? (size_t)n : 0;
    memcpy(png->name, png->pattern, png->number_at);
    memcpy(png->name + png->number_at, number, length);
    strcpy(png->name + png->number_at + length, png->pattern + png->number_end);
}

/* Opens each picture that is announced and removes it again: existing files and folders that cannot
   be written are found before anything is computed. */
static enum wf_status check_names(struct png *png, int64_t frames, struct wf_error *err)
{
    const int64_t announced = frames > 0 && !png->overwrite ? frames : 1;
    const int64_t count = announced < CHECKED_BEFORE ? announced : CHECKED_BEFORE;
    for (int64_t i = 1; i <= count; i++) {
        struct wf_output *output;
        make_name(png, i);
        WF_TRY(wf_output_open(png->name, png->overwrite, png->mem, &output, err));
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
    png->name_room = strlen(config->path) + DIGITS + 1;
    png->pattern = wf_strdup(png->mem, config->path);
    png->name = wf_alloc(png->mem, WF_MEM_MISC, png->name_room);
    if (!png->pattern || !png->name)
        return wf_fail_memory(err, "output", png->name_room);
    WF_TRY(parse_pattern(png, err));
    return check_names(png, config->frames, err);
}

/* --- the encoder --- */

static enum wf_status fail_encoder(struct wf_error *err, enum wf_status status, int code)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = {0};
    av_strerror(code, text, sizeof text);
    return wf_fail(err, status, "output: the png encoder failed: %s; choose another format", text);
}

static enum wf_status open_encoder(struct png *png, const struct wf_sink_config *config,
                                   struct wf_error *err)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
    if (!codec)
        return wf_fail(err, WF_REFUSED,
                       "output: this FFmpeg has no png encoder; choose another format");
    png->codec = avcodec_alloc_context3(codec);
    png->picture = av_frame_alloc();
    png->packet = av_packet_alloc();
    if (!png->codec || !png->picture || !png->packet)
        return wf_fail_memory(err, "output", sizeof(AVCodecContext));
    png->codec->width = config->width;
    png->codec->height = config->height;
    png->codec->pix_fmt = AV_PIX_FMT_RGB24;
    png->codec->color_range = AVCOL_RANGE_JPEG;
    png->codec->time_base = (AVRational){1, 1};
    png->codec->thread_count = 1;      /* threads hold frames back: each is to be on disk at once */
    png->codec->compression_level = 3; /* the default takes four times as long for 5 % */
    av_opt_set(png->codec->priv_data, "pred", "mixed", 0);
    int code = avcodec_open2(png->codec, codec, NULL);
    if (code < 0)
        return fail_encoder(err, WF_REFUSED, code);
    png->picture->format = AV_PIX_FMT_RGB24;
    png->picture->width = config->width;
    png->picture->height = config->height;
    png->picture->color_range = AVCOL_RANGE_JPEG;
    code = av_frame_get_buffer(png->picture, 0);
    return code < 0 ? fail_encoder(err, WF_FAILED, code) : WF_OK;
}

static enum wf_status encode(struct png *png, const unsigned char *rgb, struct wf_error *err)
{
    int code = av_frame_make_writable(png->picture);
    if (code < 0)
        return fail_encoder(err, WF_FAILED, code);
    const double start = wf_sink_clock();
    const size_t line = 3 * (size_t)png->codec->width;
    for (int y = 0; y < png->codec->height; y++)
        memcpy(png->picture->data[0] + (ptrdiff_t)y * png->picture->linesize[0],
               rgb + (size_t)y * line, line);
    png->picture->pts = png->written;
    code = avcodec_send_frame(png->codec, png->picture);
    if (code >= 0)
        code = avcodec_receive_packet(png->codec, png->packet);
    png->seconds += wf_sink_clock() - start;
    return code < 0 ? fail_encoder(err, WF_FAILED, code) : WF_OK;
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
    if (!png->finished)
        remove_pictures(png);
    avcodec_free_context(&png->codec);
    av_frame_free(&png->picture);
    av_packet_free(&png->packet);
    wf_free(png->name);
    wf_free(png->pattern);
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
    av_log_set_level(AV_LOG_QUIET); /* of the whole process: libav stays off standard error */
    enum wf_status status = open_names(png, config, err);
    if (status == WF_OK)
        status = open_encoder(png, config, err);
    if (status != WF_OK)
        png_close(png);
    else
        *state = png;
    return status;
}

static enum wf_status write_picture(struct png *png, struct wf_error *err)
{
    struct wf_output *output;
    make_name(png, png->written + 1);
    WF_TRY(wf_output_open(png->name, png->overwrite, png->mem, &output, err));
    const enum wf_status status =
        wf_output_write(output, png->packet->data, (size_t)png->packet->size, err);
    if (status != WF_OK) {
        wf_output_discard(&output);
        return status;
    }
    WF_TRY(wf_output_commit(&output, err));
    png->written++;
    png->bytes += png->packet->size;
    return WF_OK;
}

static enum wf_status png_write(void *state, const void *frame, struct wf_error *err)
{
    struct png *png = state;
    WF_TRY(encode(png, frame, err));
    enum wf_status status = write_picture(png, err);
    av_packet_unref(png->packet);
    if (status == WF_REFUSED) { /* too late for a refusal */
        status = WF_FAILED;
        if (err)
            err->status = status;
    }
    return status;
}

static enum wf_status png_finish(void *state, struct wf_error *err)
{
    struct png *png = state;
    (void)err;
    png->finished = true;
    return WF_OK;
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
    .close = png_close,
};
