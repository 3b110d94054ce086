#include "io/video/av_encoder.h"

#include <stdio.h>
#include <string.h>

#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

enum { LIST_BYTES = 240 };

/* What an encoder is told beside the user's own options: in a file, and in a pipe (lookahead of 8
   frames at most, no frame held back for its threads, key frames at the seconds only). libx264
   holds one frame more than its lookahead. libx265 prints to standard error unless told not to. */
static const struct tuning {
    const char *codec, *file, *live;
} tunings[] = {
    {"libx264", "", "rc-lookahead=7,sc_threshold=0"},
    {"libx265", "x265-params=log-level=none",
     "x265-params=log-level=none:rc-lookahead=7:bframes=0:frame-threads=1:scenecut=0"},
    {"libvpx-vp9", "deadline=good,cpu-used=2,row-mt=1",
     "deadline=realtime,cpu-used=7,row-mt=1,lag-in-frames=0,auto-alt-ref=0"},
    {"libvpx", "deadline=good,cpu-used=2",
     "deadline=realtime,cpu-used=7,lag-in-frames=0,auto-alt-ref=0"},
    {"libaom-av1", "cpu-used=5,row-mt=1", "usage=realtime,cpu-used=8,row-mt=1,lag-in-frames=0"},
    {"libsvtav1", "", "svtav1-params=pred-struct=1:lookahead=0"},
    {"librav1e", "speed=6", "speed=8,rav1e-params=low_latency=true:rdo_lookahead_frames=8"},
};

/* Those that a message proposes, as far as they are there and fit. */
static const char *const usual_codecs[] = {"libx264", "libx265",   "libvpx-vp9", "libaom-av1",
                                           "mpeg4",   "prores_ks", "ffv1"};

/* Checked here because x264 prints an unknown one to standard error itself. */
static const char *const x26x_presets[] = {"ultrafast", "superfast", "veryfast", "faster",
                                           "fast",      "medium",    "slow",     "slower",
                                           "veryslow",  "placebo"};

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

static bool container_holds(const AVOutputFormat *container, enum AVCodecID codec)
{
    return avformat_query_codec(container, codec, FF_COMPLIANCE_NORMAL) == 1;
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

static enum wf_status choose_format(enum AVPixelFormat *format, const AVCodec *codec,
                                    const struct wf_sink_config *config, struct wf_error *err)
{
    const char *name = config->pix_fmt ? config->pix_fmt : "yuv420p";
    const enum AVPixelFormat wanted = av_get_pix_fmt(name), *all = formats_of(codec);
    char list[LIST_BYTES] = "";
    for (size_t i = 0; all && all[i] != AV_PIX_FMT_NONE; i++) {
        if (all[i] == wanted && is_usable(wanted)) {
            *format = wanted;
            return WF_OK;
        }
        if (is_usable(all[i]))
            append(list, av_get_pix_fmt_name(all[i]));
    }
    if (!all && wanted != AV_PIX_FMT_NONE && is_usable(wanted)) {
        *format = wanted;
        return WF_OK;
    }
    if (all && !list[0])
        return wf_fail(err, WF_REFUSED,
                       "output: %s takes nothing but surfaces of a graphics card; choose another "
                       "--codec",
                       codec->name);
    return wf_fail(err, WF_REFUSED, "output: %s does not take pixel format '%.40s'; --pix-fmt: %s",
                   codec->name, name, all ? list : "yuv420p, yuv444p");
}

static enum wf_status check_size(const struct wf_sink_config *config, enum AVPixelFormat format,
                                 struct wf_error *err)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    const int w = config->width, h = config->height;
    const int x = 1 << d->log2_chroma_w, y = 1 << d->log2_chroma_h;
    if (w % x == 0 && h % y == 0)
        return WF_OK;
    return wf_fail(
        err, WF_REFUSED,
        "output: %s shares colour among %dx%d pixels, and %dx%d does not divide by that; "
        "choose %dx%d or --pix-fmt yuv444p",
        d->name, x, y, w, h, (w + x - 1) / x * x, (h + y - 1) / y * y);
}

/* --- options --- */

static bool in_av1_or_vpx(enum AVCodecID id)
{
    return id == AV_CODEC_ID_VP8 || id == AV_CODEC_ID_VP9 || id == AV_CODEC_ID_AV1;
}

static enum wf_status set_crf(AVCodecContext *codec, const struct wf_sink_config *config,
                              AVDictionary **options, struct wf_error *err)
{
    const int top = in_av1_or_vpx(codec->codec_id) ? 63 : 51;
    const bool has = codec->priv_data && av_opt_find(codec->priv_data, "crf", NULL, 0, 0);
    if (!has && config->crf >= 0)
        return wf_fail(err, WF_REFUSED, "output: %s has no crf; leave --crf away",
                       codec->codec->name);
    if (config->crf > top)
        return wf_fail(err, WF_REFUSED, "output: %s takes crf 0 to %d, not %d; choose one of these",
                       codec->codec->name, top, config->crf);
    if (has) {
        const int usual = in_av1_or_vpx(codec->codec_id) ? 31 : 18;
        codec->bit_rate = 0; /* libvpx and libaom: quality alone decides */
        av_dict_set_int(options, "crf", config->crf >= 0 ? config->crf : usual, 0);
        return WF_OK;
    }
    if (codec->codec_id == AV_CODEC_ID_MPEG4 || codec->codec_id == AV_CODEC_ID_MPEG2VIDEO ||
        codec->codec_id == AV_CODEC_ID_MJPEG) { /* whose own default is 200 kbit/s */
        codec->flags |= AV_CODEC_FLAG_QSCALE;
        codec->global_quality = 2 * FF_QP2LAMBDA;
    }
    return WF_OK;
}

static enum wf_status set_preset(AVCodecContext *codec, const struct wf_sink_config *config,
                                 AVDictionary **options, struct wf_error *err)
{
    const char *name = codec->codec->name;
    if (!config->preset)
        return WF_OK; /* libx264's and libx265's own is medium */
    if (!codec->priv_data || !av_opt_find(codec->priv_data, "preset", NULL, 0, 0))
        return wf_fail(err, WF_REFUSED, "output: %s has no presets; leave --preset away", name);
    bool known = strcmp(name, "libx264") != 0 && strcmp(name, "libx265") != 0;
    for (size_t i = 0; i < sizeof x26x_presets / sizeof *x26x_presets; i++)
        known = known || strcmp(config->preset, x26x_presets[i]) == 0;
    if (!known)
        return wf_fail(
            err, WF_REFUSED,
            "output: %s has no preset '%.40s'; --preset: ultrafast, superfast, veryfast, "
            "faster, fast, medium, slow, slower, veryslow, placebo",
            name, config->preset);
    av_dict_set(options, "preset", config->preset, 0);
    return WF_OK;
}

static enum wf_status set_options(AVCodecContext *codec, const struct wf_sink_config *config,
                                  bool live, AVDictionary **options, struct wf_error *err)
{
    for (size_t i = 0; i < sizeof tunings / sizeof *tunings; i++) {
        if (strcmp(tunings[i].codec, codec->codec->name) == 0)
            av_dict_parse_string(options, live ? tunings[i].live : tunings[i].file, "=", ",", 0);
    }
    WF_TRY(set_crf(codec, config, options, err));
    return set_preset(codec, config, options, err);
}

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

/* The context has forgotten its codec by then. */
static enum wf_status refuse_open(const AVCodec *codec, const struct wf_sink_config *config,
                                  enum AVPixelFormat format, int code, struct wf_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = {0};
    if (code == AVERROR(ENOMEM))
        return wf_av_fail(err, WF_FAILED, codec->name, code);
    av_strerror(code, text, sizeof text);
    return wf_fail(err, WF_REFUSED,
                   "output: %s does not open for %dx%d, %s, %d/%d frames a second, preset %.40s: "
                   "%s; choose others",
                   codec->name, config->width, config->height, av_get_pix_fmt_name(format),
                   config->fps_num, config->fps_den, config->preset ? config->preset : "default",
                   text);
}

static enum wf_status open_codec(struct wf_av_encoder *e, const AVCodec *codec,
                                 enum AVPixelFormat format, const struct wf_sink_config *config,
                                 const AVOutputFormat *container, bool live, struct wf_error *err)
{
    AVDictionary *options = NULL;
    e->codec = avcodec_alloc_context3(codec);
    if (!e->codec)
        return wf_fail_memory(err, "output", sizeof(AVCodecContext));
    e->codec->pix_fmt = format;
    set_stream(e->codec, config, live);
    set_colours(e->codec);
    if (container->flags & AVFMT_GLOBALHEADER)
        e->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    enum wf_status status = set_options(e->codec, config, live, &options, err);
    if (status == WF_OK) {
        const int code = avcodec_open2(e->codec, codec, &options);
        if (code < 0)
            status = refuse_open(codec, config, format, code, err);
        else if (live && e->codec->codec_id == AV_CODEC_ID_AV1 && e->codec->extradata_size == 0)
            status =
                wf_fail(err, WF_REFUSED,
                        "output: %s describes its stream too late for a pipe; write to a file, "
                        "or choose libsvtav1 or libx264",
                        codec->name);
    }
    av_dict_free(&options);
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
    av_opt_set_int(e->scaler, "srcw", codec->width, 0);
    av_opt_set_int(e->scaler, "srch", codec->height, 0);
    av_opt_set_int(e->scaler, "src_format", AV_PIX_FMT_RGB24, 0);
    av_opt_set_int(e->scaler, "dstw", codec->width, 0);
    av_opt_set_int(e->scaler, "dsth", codec->height, 0);
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

static enum wf_status open_buffers(struct wf_av_encoder *e, struct wf_error *err)
{
    e->packet = av_packet_alloc();
    e->picture = av_frame_alloc();
    if (!e->packet || !e->picture)
        return wf_fail_memory(err, "output", sizeof(AVFrame));
    e->picture->format = e->codec->pix_fmt;
    e->picture->width = e->codec->width;
    e->picture->height = e->codec->height;
    e->picture->color_range = e->codec->color_range;
    e->picture->colorspace = e->codec->colorspace;
    e->picture->color_primaries = e->codec->color_primaries;
    e->picture->color_trc = e->codec->color_trc;
    e->picture->chroma_location = e->codec->chroma_sample_location;
    e->picture->sample_aspect_ratio = e->codec->sample_aspect_ratio;
    if (av_frame_get_buffer(e->picture, 0) < 0)
        return wf_fail_memory(err, "output",
                              3ull * (unsigned)e->codec->width * (unsigned)e->codec->height);
    return WF_OK;
}

static enum wf_status open_parts(struct wf_av_encoder *e, const struct wf_sink_config *config,
                                 const AVOutputFormat *container, bool live, struct wf_error *err)
{
    const AVCodec *codec = NULL;
    enum AVPixelFormat format = AV_PIX_FMT_NONE;
    WF_TRY(choose_codec(&codec, config, container, err));
    WF_TRY(choose_format(&format, codec, config, err));
    WF_TRY(check_size(config, format, err));
    WF_TRY(open_codec(e, codec, format, config, container, live, err));
    WF_TRY(open_scaler(e, err));
    return open_buffers(e, err);
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
    av_packet_free(&encoder->packet);
}

/* --- frames --- */

enum wf_status wf_av_encoder_send(struct wf_av_encoder *e, const unsigned char *rgb, int64_t pts,
                                  struct wf_error *err)
{
    int code = 0;
    if (rgb) {
        const unsigned char *planes[4] = {rgb};
        const int strides[4] = {3 * e->codec->width};
        code = av_frame_make_writable(e->picture);
        if (code < 0)
            return wf_av_fail(err, WF_FAILED, "no memory for a picture", code);
        code = sws_scale(e->scaler, planes, strides, 0, e->codec->height, e->picture->data,
                         e->picture->linesize);
        if (code < 0)
            return wf_av_fail(err, WF_FAILED, "converting a frame failed", code);
        e->picture->pts = pts;
    }
    code = avcodec_send_frame(e->codec, rgb ? e->picture : NULL);
    return code < 0 ? wf_av_fail(err, WF_FAILED, "encoding a frame failed", code) : WF_OK;
}

enum wf_status wf_av_encoder_receive(struct wf_av_encoder *e, bool *has, struct wf_error *err)
{
    const int code = avcodec_receive_packet(e->codec, e->packet);
    *has = code >= 0;
    if (code >= 0 || code == AVERROR(EAGAIN) || code == AVERROR_EOF)
        return WF_OK;
    return wf_av_fail(err, WF_FAILED, "encoding failed", code);
}
