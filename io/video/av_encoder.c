#include "io/video/av_encoder.h"

#include <stdio.h>
#include <string.h>

#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

#include "io/video/driver.h"
#include "io/video/yuv.h"

enum { LIST_BYTES = 240 };

/* Those that a message proposes, as far as they are there and fit. */
static const char *const usual_codecs[] = {"libx264",    "libx265", "libvpx-vp9", "libsvtav1",
                                           "libaom-av1", "mpeg4",   "prores_ks",  "ffv1"};

enum wf_status wf_av_fail(struct wf_error *err, enum wf_status status, const char *what, int code)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = {0};
    if (code == AVERROR(ENOMEM))
        return wf_fail(err, WF_FAILED, "output: %s: out of memory; choose a smaller size", what);
    av_strerror(code, text, sizeof text);
    return wf_fail(err, status, "output: %s: %s; choose another --codec or other options", what,
                   text);
}

static void append(char *list, const char *name)
{
    const size_t used = strlen(list);
    if (used + strlen(name) + 8 < LIST_BYTES)
        snprintf(list + used, LIST_BYTES - used, "%s%s", used ? ", " : "", name);
}

/* --- codec --- */

/* Matroska takes what AVI has a tag for too, which FFmpeg counts as unofficial. */
static bool container_holds(const AVOutputFormat *container, enum AVCodecID codec)
{
    return avformat_query_codec(container, codec, FF_COMPLIANCE_NORMAL) == 1 ||
           (avformat_query_codec(container, codec, FF_COMPLIANCE_UNOFFICIAL) == 1 &&
            container->codec_tag && av_codec_get_tag(container->codec_tag, codec) != 0);
}

static void list_codecs(char *list, const AVOutputFormat *container)
{
    list[0] = 0;
    for (size_t i = 0; i < sizeof usual_codecs / sizeof *usual_codecs; i++) {
        const AVCodec *codec = avcodec_find_encoder_by_name(usual_codecs[i]);
        if (codec && container_holds(container, codec->id))
            append(list, usual_codecs[i]);
    }
}

static enum wf_status choose_codec(const AVCodec **codec, const struct wf_sink_config *config,
                                   const AVOutputFormat *container, struct wf_error *err)
{
    const bool is_webm = strcmp(container->name, "webm") == 0;
    const char *name = config->codec ? config->codec : is_webm ? "libvpx-vp9" : "libx264";
    char list[LIST_BYTES];
    *codec = avcodec_find_encoder_by_name(name);
    if (*codec && (*codec)->type == AVMEDIA_TYPE_VIDEO && container_holds(container, (*codec)->id))
        return WF_OK;
    list_codecs(list, container);
    if (*codec && (*codec)->type == AVMEDIA_TYPE_VIDEO)
        return wf_fail(err, WF_REFUSED, "output: %s cannot hold codec '%.40s'; choose from %s",
                       container->name, name, list);
    return wf_fail(err, WF_REFUSED,
                   "output: this FFmpeg has no video encoder '%.40s'; choose from %s", name, list);
}

/* --- pixel format --- */

static const enum AVPixelFormat *formats_of(const AVCodec *codec)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100)
    const void *formats = NULL;
    avcodec_get_supported_config(NULL, codec, AV_CODEC_CONFIG_PIX_FORMAT, 0, &formats, NULL);
    return formats;
#else
    return codec->pix_fmts;
#endif
}

/* Surfaces of a graphics card are no place for our frames. */
static bool is_usable(enum AVPixelFormat format)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    return d && !(d->flags & AV_PIX_FMT_FLAG_HWACCEL) && sws_isSupportedOutput(format);
}

static bool is_full_range(enum AVPixelFormat format)
{
    return (av_pix_fmt_desc_get(format)->flags & AV_PIX_FMT_FLAG_RGB) ||
           strncmp(av_get_pix_fmt_name(format), "yuvj", 4) == 0;
}

static bool takes(const AVCodec *codec, enum AVPixelFormat format)
{
    const enum AVPixelFormat *all = formats_of(codec);
    while (all && *all != AV_PIX_FMT_NONE && *all != format)
        all++;
    return is_usable(format) && (!all || *all == format);
}

static enum wf_status choose_format(enum AVPixelFormat *format, const AVCodec *codec,
                                    const struct wf_sink_config *config, struct wf_error *err)
{
    const char *name = config->pix_fmt ? config->pix_fmt : "yuv420p";
    const enum AVPixelFormat wanted = av_get_pix_fmt(name), *all = formats_of(codec);
    char list[LIST_BYTES] = "";
    if (takes(codec, wanted)) {
        *format = wanted;
        return WF_OK;
    }
    for (size_t i = 0; all && all[i] != AV_PIX_FMT_NONE; i++) {
        if (is_usable(all[i]))
            append(list, av_get_pix_fmt_name(all[i]));
    }
    if (all && !list[0])
        return wf_fail(err, WF_REFUSED,
                       "output: %s takes nothing but surfaces of a graphics card; choose another "
                       "--codec",
                       codec->name);
    return wf_fail(err, WF_REFUSED, "output: %s does not take pixel format '%.40s'; --pix-fmt: %s",
                   codec->name, name, all ? list : "yuv420p, yuv444p");
}

/* FFmpeg's mp4 muxer writes such a file without a complaint, and nothing reads it. */
static enum wf_status check_container(const AVCodec *codec, enum AVPixelFormat format,
                                      const AVOutputFormat *container, struct wf_error *err)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    const bool is_mp4 = strcmp(container->name, "mp4") == 0 || strcmp(container->name, "mov") == 0;
    if (!is_mp4 || codec->id != AV_CODEC_ID_VP9 || !d->log2_chroma_h || d->log2_chroma_w)
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "output: %s cannot hold vp9 with pixel format %s; write mkv, or choose "
                   "--pix-fmt yuv420p or yuv444p",
                   container->name, d->name);
}

/* --- what is encoded --- */

static void set_colours(AVCodecContext *codec)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(codec->pix_fmt);
    const bool rgb = d->flags & AV_PIX_FMT_FLAG_RGB;
    codec->color_primaries = AVCOL_PRI_BT709;
    codec->color_trc = AVCOL_TRC_BT709;
    codec->colorspace = rgb ? AVCOL_SPC_RGB : AVCOL_SPC_BT709;
    codec->color_range = is_full_range(codec->pix_fmt) ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    if (d->log2_chroma_w)
        codec->chroma_sample_location = AVCHROMA_LOC_LEFT;
}

static void set_stream(AVCodecContext *codec, const struct wf_sink_config *config, bool live)
{
    int num, den;
    av_reduce(&num, &den, config->fps_num, config->fps_den, INT32_MAX);
    codec->width = config->width;
    codec->height = config->height;
    codec->sample_aspect_ratio = (AVRational){1, 1};
    codec->framerate = (AVRational){num, den};
    codec->time_base = (AVRational){den, num};
    codec->thread_count = 0; /* as many as the encoder finds useful */
    if (!live)
        return;
    const int64_t second = ((int64_t)num + den - 1) / den;
    codec->gop_size = (int)second;
    codec->max_b_frames = 0;
    codec->thread_type = FF_THREAD_SLICE; /* threads over frames hold frames back */
}

/* --- opening --- */

static enum wf_status refuse_size(const AVCodec *codec, const struct wf_sink_config *config,
                                  const AVPixFmtDescriptor *d, struct wf_error *err)
{
    const int w = config->width, h = config->height;
    const int x = 1 << d->log2_chroma_w, y = 1 << d->log2_chroma_h;
    return wf_fail(err, WF_REFUSED,
                   "output: %s with %s shares colour among %dx%d pixels, and %dx%d does not divide "
                   "by that; choose %dx%d or %s",
                   codec->name, d->name, x, y, w, h, (w + x - 1) / x * x, (h + y - 1) / y * y,
                   takes(codec, AV_PIX_FMT_YUV444P) ? "--pix-fmt yuv444p" : "another --codec");
}

static bool divides(const struct wf_sink_config *config, const AVPixFmtDescriptor *d)
{
    return config->width % (1 << d->log2_chroma_w) == 0 &&
           config->height % (1 << d->log2_chroma_h) == 0;
}

/* H.264 and HEVC cut pictures to size by whole samples of colour, and FFmpeg gives librav1e one
   line of colour too few; of others the encoder decides. */
static enum wf_status check_size(const AVCodec *codec, enum AVPixelFormat format,
                                 const struct wf_sink_config *config, struct wf_error *err)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    const bool cuts = codec->id == AV_CODEC_ID_H264 || codec->id == AV_CODEC_ID_HEVC ||
                      strcmp(codec->name, "librav1e") == 0;
    return cuts && !divides(config, d) ? refuse_size(codec, config, d, err) : WF_OK;
}

static enum wf_status refuse_open(const AVCodec *codec, const struct wf_sink_config *config,
                                  enum AVPixelFormat format, int code, struct wf_error *err)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    char text[AV_ERROR_MAX_STRING_SIZE] = {0};
    if (code == AVERROR(ENOMEM))
        return wf_av_fail(err, WF_FAILED, codec->name, code);
    if (!divides(config, d)) /* the likely reason */
        return refuse_size(codec, config, d, err);
    av_strerror(code, text, sizeof text);
    return wf_fail(err, WF_REFUSED,
                   "output: %s does not open for %dx%d, %s, %d/%d frames a second, preset %.40s: "
                   "%s; choose others",
                   codec->name, config->width, config->height, d->name, config->fps_num,
                   config->fps_den, config->preset ? config->preset : "default", text);
}

/* What one open of the encoder needs. */
struct plan {
    const AVCodec *codec;
    enum AVPixelFormat format;
    const struct wf_sink_config *config;
    const AVOutputFormat *container;
    bool live;
};

/* The context stays the caller's to free when this fails. */
static enum wf_status open_context(const struct plan *plan, AVCodecContext **context,
                                   struct wf_error *err)
{
    AVDictionary *options = NULL;
    AVCodecContext *codec = *context = avcodec_alloc_context3(plan->codec);
    if (!codec)
        return wf_fail_memory(err, "output", sizeof *codec);
    codec->pix_fmt = plan->format;
    set_stream(codec, plan->config, plan->live);
    set_colours(codec);
    if (plan->container->flags & AVFMT_GLOBALHEADER)
        codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    enum wf_status status = wf_av_encoder_options(codec, plan->config, plan->live, &options, err);
    if (status == WF_OK) {
        const int code = avcodec_open2(codec, plan->codec, &options);
        if (code < 0)
            status = refuse_open(plan->codec, plan->config, plan->format, code, err);
    }
    av_dict_free(&options);
    return status;
}

static int set_extradata(AVCodecContext *codec, const uint8_t *data, size_t bytes)
{
    codec->extradata = av_mallocz(bytes + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!codec->extradata)
        return AVERROR(ENOMEM);
    memcpy(codec->extradata, data, bytes);
    codec->extradata_size = (int)bytes;
    return 0;
}

/* Encodes one picture of any content and keeps the description that comes with the packet. */
static int learn_extradata(struct wf_av_encoder *e, AVCodecContext *trial)
{
    for (int i = 0; i < AV_NUM_DATA_POINTERS && e->picture->buf[i]; i++)
        memset(e->picture->buf[i]->data, 0, e->picture->buf[i]->size);
    e->picture->width = e->codec->width;
    e->picture->height = e->codec->height;
    e->picture->pts = 0;
    int code = avcodec_send_frame(trial, e->picture);
    if (code >= 0)
        code = avcodec_send_frame(trial, NULL);
    while (code >= 0 && e->codec->extradata_size == 0) {
        code = avcodec_receive_packet(trial, e->packet);
        size_t bytes = 0;
        const uint8_t *data =
            code < 0 ? NULL : av_packet_get_side_data(e->packet, AV_PKT_DATA_NEW_EXTRADATA, &bytes);
        if (data && bytes)
            code = set_extradata(e->codec, data, bytes);
        av_packet_unref(e->packet);
    }
    return code;
}

/* libaom and librav1e describe an AV1 stream with its first packet alone, and a header that cannot
   be written again needs it before. The same settings give the same description. */
static enum wf_status describe_early(struct wf_av_encoder *e, const struct plan *plan,
                                     struct wf_error *err)
{
    if (!plan->live || e->codec->codec_id != AV_CODEC_ID_AV1 || e->codec->extradata_size > 0)
        return WF_OK;
    AVCodecContext *trial = NULL;
    enum wf_status status = open_context(plan, &trial, err);
    if (status == WF_OK) {
        const int code = learn_extradata(e, trial);
        if (code < 0)
            status = wf_av_fail(err, WF_REFUSED, "the encoder does not describe its stream", code);
    }
    avcodec_free_context(&trial);
    return status;
}

/* rgb24 is full range; what comes out is BT.709, by stated coefficients and chroma positions, never
   by libswscale's guess from the size. */
static enum wf_status open_scaler(struct wf_av_encoder *e, struct wf_error *err)
{
    const AVCodecContext *codec = e->codec;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(codec->pix_fmt);
    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709);
    e->scaler = sws_alloc_context();
    if (!e->scaler)
        return wf_fail_memory(err, "output", (unsigned long long)codec->width);
    e->scaled_width = AV_CEIL_RSHIFT(codec->width, d->log2_chroma_w) << d->log2_chroma_w;
    e->scaled_height = AV_CEIL_RSHIFT(codec->height, d->log2_chroma_h) << d->log2_chroma_h;
    av_opt_set_int(e->scaler, "srcw", e->scaled_width, 0);
    av_opt_set_int(e->scaler, "srch", e->scaled_height, 0);
    av_opt_set_int(e->scaler, "src_format", AV_PIX_FMT_RGB24, 0);
    av_opt_set_int(e->scaler, "dstw", e->scaled_width, 0);
    av_opt_set_int(e->scaler, "dsth", e->scaled_height, 0);
    av_opt_set_int(e->scaler, "dst_format", codec->pix_fmt, 0);
    av_opt_set_int(e->scaler, "sws_flags",
                   SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_FULL_CHR_H_INT, 0);
    if (d->log2_chroma_w)
        av_opt_set_int(e->scaler, "dst_h_chr_pos", 0, 0); /* left */
    if (d->log2_chroma_h)
        av_opt_set_int(e->scaler, "dst_v_chr_pos", 128, 0); /* between the two rows */
    const int code = sws_init_context(e->scaler, NULL, NULL);
    if (code < 0)
        return wf_av_fail(err, WF_REFUSED, "no conversion to the pixel format", code);
    const int set = sws_setColorspaceDetails(
        e->scaler, bt709, 1, bt709, codec->color_range == AVCOL_RANGE_JPEG, 0, 1 << 16, 1 << 16);
    if (set < 0 && !(d->flags & AV_PIX_FMT_FLAG_RGB)) /* RGB to RGB has no coefficients */
        return wf_av_fail(err, WF_REFUSED, "no BT.709 conversion to the pixel format", set);
    return WF_OK;
}

/* What wf_yuv_from_rgb can make: limited range, no transparency, colour shared by two at most. */
static bool has_own_conversion(enum AVPixelFormat format)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    const uint64_t others = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                            AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_FLOAT |
                            AV_PIX_FMT_FLAG_BAYER;
    bool fits = !(d->flags & others) && strncmp(d->name, "xyz", 3) != 0 && !is_full_range(format) &&
                d->nb_components % 2 == 1 && d->log2_chroma_w <= 1 && d->log2_chroma_h <= 1;
    for (int c = 0; fits && c < d->nb_components; c++)
        fits = d->comp[c].depth == d->comp[0].depth && d->comp[c].shift == d->comp[0].shift &&
               d->comp[c].depth >= 8 && d->comp[c].depth <= 16 &&
               (d->comp[c].shift == 0 || d->comp[c].depth > 8);
    return fits;
}

static enum wf_status open_buffers(struct wf_av_encoder *e, struct wf_error *err)
{
    e->packet = av_packet_alloc();
    e->picture = av_frame_alloc();
    if (!e->packet || !e->picture)
        return wf_fail_memory(err, "output", sizeof(AVFrame));
    e->has_own_conversion = has_own_conversion(e->codec->pix_fmt);
    e->picture->format = e->codec->pix_fmt;
    e->picture->width = e->scaled_width;
    e->picture->height = e->scaled_height;
    e->picture->color_range = e->codec->color_range;
    e->picture->colorspace = e->codec->colorspace;
    e->picture->color_primaries = e->codec->color_primaries;
    e->picture->color_trc = e->codec->color_trc;
    e->picture->chroma_location = e->codec->chroma_sample_location;
    e->picture->sample_aspect_ratio = e->codec->sample_aspect_ratio;
    const size_t rgb_bytes = 3 * (size_t)e->scaled_width * (size_t)e->scaled_height;
    const bool is_odd = e->scaled_width != e->codec->width || e->scaled_height != e->codec->height;
    if (av_frame_get_buffer(e->picture, 0) < 0)
        return wf_fail_memory(err, "output", rgb_bytes);
    if (is_odd && !(e->padded = av_malloc(rgb_bytes + AV_INPUT_BUFFER_PADDING_SIZE)))
        return wf_fail_memory(err, "output", rgb_bytes);
    return WF_OK;
}

static enum wf_status open_parts(struct wf_av_encoder *e, const struct wf_sink_config *config,
                                 const AVOutputFormat *container, bool live, struct wf_error *err)
{
    struct plan plan = {.config = config, .container = container, .live = live};
    WF_TRY(choose_codec(&plan.codec, config, container, err));
    WF_TRY(choose_format(&plan.format, plan.codec, config, err));
    WF_TRY(check_container(plan.codec, plan.format, container, err));
    WF_TRY(check_size(plan.codec, plan.format, config, err));
    WF_TRY(open_context(&plan, &e->codec, err));
    WF_TRY(open_scaler(e, err));
    WF_TRY(open_buffers(e, err));
    return describe_early(e, &plan, err);
}

enum wf_status wf_av_encoder_open(struct wf_av_encoder *encoder,
                                  const struct wf_sink_config *config,
                                  const AVOutputFormat *container, bool live, struct wf_error *err)
{
    *encoder = (struct wf_av_encoder){0};
    const enum wf_status status = open_parts(encoder, config, container, live, err);
    if (status != WF_OK)
        wf_av_encoder_close(encoder);
    return status;
}

void wf_av_encoder_close(struct wf_av_encoder *encoder)
{
    avcodec_free_context(&encoder->codec);
    sws_freeContext(encoder->scaler);
    encoder->scaler = NULL;
    av_frame_free(&encoder->picture);
    av_freep(&encoder->padded);
    av_packet_free(&encoder->packet);
}

/* --- frames --- */

/* With the last column and row repeated, so that libswscale takes exactly the pixels that share
   colour; given an odd size it would stretch the colour planes. */
static const unsigned char *pad(struct wf_av_encoder *e, const unsigned char *rgb)
{
    if (!e->padded)
        return rgb;
    const int width = e->codec->width, height = e->codec->height;
    const size_t line = 3 * (size_t)e->scaled_width, used = 3 * (size_t)width;
    for (int y = 0; y < e->scaled_height; y++) {
        const unsigned char *from = rgb + used * (size_t)(y < height ? y : height - 1);
        unsigned char *to = e->padded + line * (size_t)y;
        memcpy(to, from, used);
        for (size_t i = used; i < line; i++)
            to[i] = to[i - 3];
    }
    return e->padded;
}

static void convert_exactly(const struct wf_av_encoder *e, const unsigned char *rgb)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(e->codec->pix_fmt);
    struct wf_yuv_picture picture = {.matrix = &wf_yuv_bt709,
                                     .width = (size_t)e->codec->width,
                                     .height = (size_t)e->codec->height,
                                     .columns = (size_t)1 << d->log2_chroma_w,
                                     .rows = (size_t)1 << d->log2_chroma_h,
                                     .bits = d->comp[0].depth,
                                     .shift = d->comp[0].shift};
    for (int c = 0; c < d->nb_components; c++) {
        const AVComponentDescriptor *comp = &d->comp[c];
        picture.component[c] = (struct wf_yuv_component){
            .data = e->picture->data[comp->plane] + comp->offset,
            .stride = e->picture->linesize[comp->plane],
            .step = comp->step,
        };
    }
    wf_yuv_from_rgb(&picture, rgb);
}

static int convert(struct wf_av_encoder *e, const unsigned char *rgb)
{
    e->picture->width = e->scaled_width;
    e->picture->height = e->scaled_height;
    int code = av_frame_make_writable(e->picture);
    if (code >= 0 && e->has_own_conversion) {
        convert_exactly(e, rgb);
    } else if (code >= 0) {
        const unsigned char *planes[4] = {pad(e, rgb)};
        const int strides[4] = {3 * e->scaled_width};
        code = sws_scale(e->scaler, planes, strides, 0, e->scaled_height, e->picture->data,
                         e->picture->linesize);
    }
    e->picture->width = e->codec->width;
    e->picture->height = e->codec->height;
    return code;
}

enum wf_status wf_av_encoder_send(struct wf_av_encoder *e, const unsigned char *rgb, int64_t pts,
                                  struct wf_error *err)
{
    int code = 0;
    if (rgb) {
        code = convert(e, rgb);
        if (code < 0)
            return wf_av_fail(err, WF_FAILED, "converting a frame failed", code);
        e->picture->pts = pts;
    }
    const double start = wf_clock();
    code = avcodec_send_frame(e->codec, rgb ? e->picture : NULL);
    e->seconds += wf_clock() - start;
    return code < 0 ? wf_av_fail(err, WF_FAILED, "encoding a frame failed", code) : WF_OK;
}

enum wf_status wf_av_encoder_receive(struct wf_av_encoder *e, bool *has, struct wf_error *err)
{
    const double start = wf_clock();
    const int code = avcodec_receive_packet(e->codec, e->packet);
    e->seconds += wf_clock() - start;
    *has = code >= 0;
    if (code >= 0 || code == AVERROR(EAGAIN) || code == AVERROR_EOF)
        return WF_OK;
    return wf_av_fail(err, WF_FAILED, "encoding failed", code);
}
