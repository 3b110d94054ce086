/* libavcodec's encoders behind the av sinks: which codec, with which options, fed with rgb24. */
#ifndef WEFT_IO_VIDEO_AV_ENCODER_H
#define WEFT_IO_VIDEO_AV_ENCODER_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>

#include "io/video/sink.h"

struct wf_av_encoder {
    AVCodecContext *codec;
    struct SwsContext *scaler;
    AVFrame *picture;        /* in the codec's pixel format */
    bool has_own_conversion; /* wf_yuv_from_rgb makes the picture, not the scaler */
    /* What the scaler reads and writes: the size, up to a multiple of what shares colour; and room
       for such an rgb24 picture where that is more, else NULL. */
    int scaled_width, scaled_height;
    unsigned char *padded;
    AVPacket *packet;
    double seconds; /* spent in the encoder */
};

/* Opens the encoder that config asks for, for a container; WF_REFUSED where the codec, its options
   or the size do not fit. live: for a pipe, with little delay and a key frame each second. On
   failure nothing is held. */
enum wf_status wf_av_encoder_open(struct wf_av_encoder *encoder,
                                  const struct wf_sink_config *config,
                                  const AVOutputFormat *container, bool live, struct wf_error *err);
void wf_av_encoder_close(struct wf_av_encoder *encoder); /* may be called twice */

/* Sends one rgb24 frame, dense, as number pts; NULL ends the stream. */
enum wf_status wf_av_encoder_send(struct wf_av_encoder *encoder, const unsigned char *rgb,
                                  int64_t pts, struct wf_error *err);
/* Takes the next packet into encoder->packet; *has is false when there is none yet. */
enum wf_status wf_av_encoder_receive(struct wf_av_encoder *encoder, bool *has,
                                     struct wf_error *err);

/* The options for one open: tuning for a file or a pipe, config's crf and preset. av_options.c. */
enum wf_status wf_av_encoder_options(AVCodecContext *codec, const struct wf_sink_config *config,
                                     bool live, AVDictionary **options, struct wf_error *err);

/* "WHAT: libav's words for the code"; WF_FAILED when that is memory. */
enum wf_status wf_av_fail(struct wf_error *err, enum wf_status status, const char *what, int code);

#endif
