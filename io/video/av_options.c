/* What libavcodec's encoders are told: the user's crf and preset, and what a file or a pipe needs.
 */
#include "io/video/av_encoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/opt.h>

/* Beside the user's own options: in a file, and in a pipe (no frame held back for its threads, key
   frames at the seconds only). ahead: what sets the frames that are looked ahead at in a pipe, and
   how many more than that the encoder holds. libx265 prints to standard error unless told not to.
 */
static const struct tuning {
    const char *codec, *file, *live, *ahead;
    int more;
} tunings[] = {
    {"libx264", "", "sc_threshold=0", "rc-lookahead", 1},
    {"libx265", "x265-params=log-level=none",
     "x265-params=log-level=none:bframes=0:frame-threads=1:scenecut=0", "rc-lookahead", 2},
    {"libvpx-vp9", "deadline=good,cpu-used=2,row-mt=1",
     "deadline=realtime,cpu-used=7,row-mt=1,lag-in-frames=0,auto-alt-ref=0", NULL, 0},
    {"libvpx", "deadline=good,cpu-used=2",
     "deadline=realtime,cpu-used=7,lag-in-frames=0,auto-alt-ref=0", NULL, 0},
    {"libaom-av1", "cpu-used=5,row-mt=1", "cpu-used=6,row-mt=1,lag-in-frames=0", NULL, 0},
    {"libsvtav1", "", "svtav1-params=pred-struct=1:lookahead=0", NULL, 0},
    {"librav1e", "speed=6", "speed=8,rav1e-params=low_latency=true:rdo_lookahead_frames=1", NULL,
     0},
};

enum { MOST_AHEAD = 8, X265_CUTREE_WIDTH = 64, VALUE_BYTES = 48 };

/* Checked here because x264 prints an unknown one to standard error itself. */
static const char *const x26x_presets[] = {"ultrafast", "superfast", "veryfast", "faster",
                                           "fast",      "medium",    "slow",     "slower",
                                           "veryslow",  "placebo"};

static bool in_av1_or_vpx(enum AVCodecID id)
{
    return id == AV_CODEC_ID_VP8 || id == AV_CODEC_ID_VP9 || id == AV_CODEC_ID_AV1;
}

/* Adds name=value to the option `row`, which holds such pairs with : between them. Below 0: memory
   is short, as of all that sets an option. */
static int add_param(AVDictionary **options, const char *row, const char *name, int value)
{
    char text[VALUE_BYTES];
    const char *between = av_dict_get(*options, row, NULL, 0) ? ":" : "";
    snprintf(text, sizeof text, "%s%s=%d", between, name, value);
    return av_dict_set(options, row, text, AV_DICT_APPEND);
}

static enum wf_status set_crf(AVCodecContext *codec, const struct wf_sink_config *config,
                              AVDictionary **options, struct wf_error *err)
{
    const int top = in_av1_or_vpx(codec->codec_id) ? 63 : 51;
    const AVOption *has =
        codec->priv_data ? av_opt_find(codec->priv_data, "crf", NULL, 0, 0) : NULL;
    if (!has && config->crf >= 0)
        return wf_fail(err, WF_REFUSED, "output: %s has no crf; leave --crf away",
                       codec->codec->name);
    if (!(config->crf <= top))
        return wf_fail(err, WF_REFUSED, "output: %s takes crf 0 to %d, not %g; choose one of these",
                       codec->codec->name, top, config->crf);
    if (has && has->type == AV_OPT_TYPE_INT && config->crf >= 0 &&
        config->crf != floor(config->crf))
        return wf_fail(err, WF_REFUSED,
                       "output: %s takes whole numbers for crf, not %g; choose one",
                       codec->codec->name, config->crf);
    if (has) {
        char value[VALUE_BYTES];
        const double usual = in_av1_or_vpx(codec->codec_id) ? 31 : 18;
        codec->bit_rate = 0; /* libvpx and libaom: quality alone decides */
        snprintf(value, sizeof value, "%.6g", config->crf >= 0 ? config->crf : usual);
        int code = av_dict_set(options, "crf", value, 0);
        if (config->crf >= 0 && config->crf <= 0 && strcmp(codec->codec->name, "libsvtav1") == 0 &&
            code >= 0)
            code =
                add_param(options, "svtav1-params", "crf", 0); /* FFmpeg's own option ignores 0 */
        return code < 0 ? wf_fail_memory(err, "output", 0) : WF_OK;
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
    return av_dict_set(options, "preset", config->preset, 0) < 0 ? wf_fail_memory(err, "output", 0)
                                                                 : WF_OK;
}

/* A quarter of a second, so that half of a second leaves long before a whole one is encoded. */
static int frames_ahead(const struct wf_sink_config *config)
{
    const int quarter = config->fps_num / config->fps_den / 4;
    return quarter < 1 ? 1 : quarter < MOST_AHEAD ? quarter : MOST_AHEAD;
}

static int set_tuning(const struct tuning *tuning, const struct wf_sink_config *config, bool live,
                      AVDictionary **options)
{
    const bool is_x265 = strcmp(tuning->codec, "libx265") == 0;
    int code = av_dict_parse_string(options, live ? tuning->live : tuning->file, "=", ",", 0);
    if (live && tuning->ahead && code >= 0) {
        const int held = frames_ahead(config) - tuning->more, frames = held > 0 ? held : 0;
        code = is_x265 ? add_param(options, "x265-params", tuning->ahead, frames)
                       : av_dict_set_int(options, tuning->ahead, frames, 0);
    }
    /* x265 writes past the end of its own buffers in pictures that are narrower. */
    if (is_x265 && config->width < X265_CUTREE_WIDTH && code >= 0)
        code = add_param(options, "x265-params", "cutree", 0);
    return code;
}

enum wf_status wf_av_encoder_options(AVCodecContext *codec, const struct wf_sink_config *config,
                                     bool live, AVDictionary **options, struct wf_error *err)
{
    for (size_t i = 0; i < sizeof tunings / sizeof *tunings; i++) {
        if (strcmp(tunings[i].codec, codec->codec->name) == 0 &&
            set_tuning(&tunings[i], config, live, options) < 0)
            return wf_fail_memory(err, "output", 0);
    }
    WF_TRY(set_crf(codec, config, options, err));
    return set_preset(codec, config, options, err);
}
