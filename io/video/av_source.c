/* Anything that libavformat reads. It sees one open file and may open no other; the first frame is
   decoded at once, since it alone tells all of the format. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "io/file.h"
#include "io/video/source_driver.h"

enum { BUFFER_BYTES = 1 << 16 };

struct av {
    const char *path;
    int fd;
    int64_t size, at; /* of the file; of the next byte */
    AVFormatContext *demuxer;
    AVIOContext *io;
    AVStream *stream;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame, *planar; /* as decoded; in planes, where it was not */
    struct SwsContext *scaler;
    enum AVPixelFormat pix_fmt; /* of the first frame, ... */
    int width, height;          /* ... which the decoder's own change with the stream */
    bool waiting, drained;      /* the first frame has not been given; the file has ended */
    int64_t given;
};

static bool av_takes(const char *path, const unsigned char *head, size_t bytes)
{
    (void)path, (void)head, (void)bytes;
    return true;
}

static enum wf_status fail(const struct av *av, enum wf_status status, const char *what, int code,
                           struct wf_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = {0};
    if (code == AVERROR(ENOMEM))
        return wf_fail(err, WF_FAILED, "%s: %s: out of memory; close other programs", av->path,
                       what);
    av_strerror(code, text, sizeof text);
    return wf_fail(err, status, "%s: %s: %s; give it a video that ffmpeg can play", av->path, what,
                   text);
}

/* --- the file --- */

static int read_bytes(void *opaque, uint8_t *data, int bytes)
{
    struct av *av = opaque;
    ssize_t n;
    do {
        n = pread(av->fd, data, (size_t)bytes, (off_t)av->at);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return AVERROR(errno);
    av->at += n;
    return n ? (int)n : AVERROR_EOF;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    struct av *av = opaque;
    if (whence & AVSEEK_SIZE)
        return av->size;
    whence &= ~AVSEEK_FORCE;
    const int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? av->at : av->size;
    if (offset < -from || (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END))
        return AVERROR(EINVAL);
    return av->at = from + offset;
}

static void close_demuxer(struct av *av)
{
    avformat_close_input(&av->demuxer);
    if (av->io)
        av_freep(&av->io->buffer);
    avio_context_free(&av->io);
    av->at = 0;
}

static enum wf_status open_io(struct av *av, struct wf_error *err)
{
    unsigned char *buffer = av_malloc(BUFFER_BYTES);
    if (buffer)
        av->io = avio_alloc_context(buffer, BUFFER_BYTES, 0, av, read_bytes, NULL, seek_bytes);
    if (!av->io)
        av_free(buffer);
    av->demuxer = av->io ? avformat_alloc_context() : NULL;
    if (!av->demuxer)
        return wf_fail_memory(err, "compare", BUFFER_BYTES);
    av->demuxer->pb = av->io;
    return WF_OK;
}

/* How the stream is to be shown; NULL: as it is. */
static const int32_t *display_matrix(const AVStream *stream)
{
#if LIBAVFORMAT_VERSION_INT < AV_VERSION_INT(60, 15, 100)
    return (const int32_t *)av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, NULL);
#else
    const AVPacketSideData *data =
        av_packet_side_data_get(stream->codecpar->coded_side_data,
                                stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return data ? (const int32_t *)data->data : NULL;
#endif
}

/* Players would show another picture than the one that is compared. */
static enum wf_status check_upright(const struct av *av, struct wf_error *err)
{
    const int32_t *matrix = display_matrix(av->stream);
    const double angle = matrix ? av_display_rotation_get(matrix) : 0;
    if (!(fabs(angle) > 0.5))
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "%s: is shown turned by %.0f degrees; compare a clip whose pictures are turned",
                   av->path, -angle);
}

static enum wf_status open_demuxer(struct av *av, struct wf_error *err)
{
    WF_TRY(open_io(av, err));
    /* Playlists name other files, and hosts: no protocol that would open one is called so. */
    AVDictionary *options = NULL;
    int code = av_dict_set(&options, "protocol_whitelist", "none", 0);
    if (code >= 0)
        code = avformat_open_input(&av->demuxer, NULL, NULL, &options);
    av_dict_free(&options);
    if (code < 0)
        return fail(av, WF_REFUSED, "is no video that can be read", code, err);
    code = avformat_find_stream_info(av->demuxer, NULL);
    if (code < 0)
        return fail(av, WF_REFUSED, "its streams cannot be read", code, err);
    code = av_find_best_stream(av->demuxer, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (code < 0)
        return wf_fail(err, WF_REFUSED, "%s: holds no video; give it a clip", av->path);
    for (unsigned i = 0; i < av->demuxer->nb_streams; i++) {
        if ((int)i != code)
            av->demuxer->streams[i]->discard = AVDISCARD_ALL;
    }
    av->stream = av->demuxer->streams[code];
    return check_upright(av, err);
}

/* The next packet of the video; *has tells whether there was one. */
static enum wf_status read_packet(struct av *av, bool *has, enum wf_status status,
                                  struct wf_error *err)
{
    for (;;) {
        av_packet_unref(av->packet);
        const int code = av_read_frame(av->demuxer, av->packet);
        *has = code >= 0;
        if (code == AVERROR_EOF)
            return WF_OK;
        if (code < 0)
            return fail(av, status, "cannot be read to its end", code, err);
        if (av->packet->stream_index != av->stream->index)
            continue;
        if (av->packet->flags & AV_PKT_FLAG_CORRUPT)
            return wf_fail(err, status, "%s: is damaged or cut short; make or copy it again",
                           av->path);
        return WF_OK;
    }
}

/* Containers do not say it, or not truly; to read the packets is little beside decoding them. */
static enum wf_status count_frames(struct av *av, int64_t *frames, struct wf_error *err)
{
    bool has = true;
    for (*frames = 0; has;) {
        WF_TRY(read_packet(av, &has, WF_REFUSED, err));
        *frames += has && !(av->packet->flags & AV_PKT_FLAG_DISCARD);
    }
    return WF_OK;
}

/* --- decoding --- */

static enum wf_status open_decoder(struct av *av, struct wf_error *err)
{
    const AVCodecParameters *p = av->stream->codecpar;
    const AVCodec *decoder = avcodec_find_decoder(p->codec_id);
    if (!decoder)
        return wf_fail(err, WF_REFUSED,
                       "%s: this FFmpeg has no decoder of %s; write it in another form", av->path,
                       avcodec_get_name(p->codec_id));
    av->codec = avcodec_alloc_context3(decoder);
    if (!av->codec)
        return wf_fail_memory(err, "compare", sizeof *av->codec);
    int code = avcodec_parameters_to_context(av->codec, p);
    if (code < 0)
        return fail(av, WF_REFUSED, "its video stream cannot be read", code, err);
    av->codec->thread_count = 0; /* as many as there are cores */
    av->codec->pkt_timebase = av->stream->time_base;
    code = avcodec_open2(av->codec, decoder, NULL);
    return code < 0 ? fail(av, WF_REFUSED, "the decoder does not open", code, err) : WF_OK;
}

static enum wf_status send_packet(struct av *av, enum wf_status status, struct wf_error *err)
{
    bool has;
    WF_TRY(read_packet(av, &has, status, err));
    av->drained = !has;
    const int code = avcodec_send_packet(av->codec, has ? av->packet : NULL);
    av_packet_unref(av->packet);
    return code < 0 ? fail(av, status, "is damaged", code, err) : WF_OK;
}

/* Concealed damage is damage, too. */
static bool is_damaged(const AVFrame *frame)
{
    return frame->decode_error_flags || frame->flags & AV_FRAME_FLAG_CORRUPT;
}

/* Without planes after the last. */
static enum wf_status decode(struct av *av, enum wf_status status, struct wf_error *err)
{
    for (;;) {
        const int code = avcodec_receive_frame(av->codec, av->frame);
        if (code == AVERROR_EOF || (code == AVERROR(EAGAIN) && av->drained))
            return WF_OK;
        if (code != AVERROR(EAGAIN) && code < 0)
            return fail(av, status, "is damaged", code, err);
        if (code >= 0 && is_damaged(av->frame))
            return wf_fail(err, status, "%s: frame %lld is damaged; make or copy it again",
                           av->path, (long long)av->given);
        if (code >= 0)
            return WF_OK;
        WF_TRY(send_packet(av, status, err));
    }
}

/* --- what a frame is made of --- */

/* Whether its planes can be taken as they are; one of transparency is not looked at. */
static bool is_planar(const AVPixFmtDescriptor *d)
{
    const uint64_t others = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                            AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
    const int bits = d->comp[0].depth, count = d->nb_components > 2 ? WF_PLANES : 1;
    if (d->flags & others || d->nb_components == 2 || bits < 8 || bits > 16)
        return false;
    for (int i = 0; i < count; i++) {
        const AVComponentDescriptor *c = &d->comp[i];
        const bool alone = count == 1 || d->flags & AV_PIX_FMT_FLAG_PLANAR;
        if (!alone || c->depth != bits || c->shift || c->offset || c->step != (bits > 8 ? 2 : 1))
            return false;
        for (int j = 0; j < i; j++) {
            if (d->comp[j].plane == c->plane)
                return false;
        }
    }
    return true;
}

static enum AVPixelFormat planar_of(enum AVPixelFormat format)
{
    static const enum AVPixelFormat list[] = {
        AV_PIX_FMT_YUV420P,   AV_PIX_FMT_YUV422P,   AV_PIX_FMT_YUV444P,   AV_PIX_FMT_YUV420P10,
        AV_PIX_FMT_YUV422P10, AV_PIX_FMT_YUV444P10, AV_PIX_FMT_YUV420P16, AV_PIX_FMT_YUV422P16,
        AV_PIX_FMT_YUV444P16, AV_PIX_FMT_GRAY8,     AV_PIX_FMT_GRAY16,    AV_PIX_FMT_GBRP,
        AV_PIX_FMT_GBRP10,    AV_PIX_FMT_GBRP16,    AV_PIX_FMT_NONE};
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(format);
    if (!d || is_planar(d))
        return format;
    return avcodec_find_best_pix_fmt_of_list(list, format, 0, NULL);
}

static int matrix_of(const AVFrame *frame)
{
    switch (frame->colorspace) {
    case AVCOL_SPC_UNSPECIFIED:
        return wf_picture_guess_matrix(frame->width, frame->height);
    case AVCOL_SPC_BT709:
        return WF_MATRIX_BT709;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        return WF_MATRIX_BT601;
    case AVCOL_SPC_BT2020_NCL:
        return WF_MATRIX_BT2020;
    case AVCOL_SPC_SMPTE240M:
        return WF_MATRIX_SMPTE240M;
    case AVCOL_SPC_FCC:
        return WF_MATRIX_FCC;
    default:
        return WF_MATRIX_OTHER + (int)frame->colorspace;
    }
}

static bool is_full(const AVFrame *frame)
{
    switch (frame->format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ411P:
        return true;
    default:
        return frame->color_range == AVCOL_RANGE_JPEG;
    }
}

static void describe(const struct av *av, struct wf_picture_format *f)
{
    const AVFrame *frame = av->frame;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(planar_of(av->pix_fmt));
    *f = (struct wf_picture_format){
        .width = frame->width, .height = frame->height, .bits = d->comp[0].depth};
    f->colours = d->flags & AV_PIX_FMT_FLAG_RGB ? WF_RGB : d->nb_components < 3 ? WF_GRAY : WF_YUV;
    f->full = f->colours == WF_RGB || is_full(frame) ||
              (f->colours == WF_GRAY && frame->color_range == AVCOL_RANGE_UNSPECIFIED);
    f->matrix = f->colours == WF_RGB ? 0 : matrix_of(frame);
    if (f->colours == WF_YUV) {
        f->columns = d->log2_chroma_w;
        f->rows = d->log2_chroma_h;
        f->centred = frame->chroma_location == AVCHROMA_LOC_CENTER;
    }
}

/* Packed or otherwise odd pixels go into planes; nothing of their colours changes. */
static enum wf_status open_scaler(struct av *av, struct wf_error *err)
{
    const enum AVPixelFormat to = planar_of(av->pix_fmt);
    if (to == av->pix_fmt)
        return WF_OK;
    const int width = av->frame->width, height = av->frame->height;
    av->planar = av_frame_alloc();
    if (!av->planar)
        return wf_fail_memory(err, "compare", sizeof *av->planar);
    av->planar->format = to;
    av->planar->width = width;
    av->planar->height = height;
    const int code = av_frame_get_buffer(av->planar, 0);
    if (code < 0)
        return fail(av, WF_FAILED, "no room for a frame", code, err);
    av->scaler =
        sws_getContext(width, height, av->pix_fmt, width, height, to,
                       SWS_POINT | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!av->scaler)
        return wf_fail(err, WF_REFUSED,
                       "%s: pixels of the form %s cannot be compared; write it in another one",
                       av->path, av_get_pix_fmt_name(av->pix_fmt));
    return WF_OK;
}

/* --- the driver --- */

static void av_close(void *state)
{
    struct av *av = state;
    sws_freeContext(av->scaler);
    av_frame_free(&av->planar);
    av_frame_free(&av->frame);
    av_packet_free(&av->packet);
    avcodec_free_context(&av->codec);
    close_demuxer(av);
    if (av->fd >= 0)
        close(av->fd);
    wf_free(av);
}

static enum wf_status open_first(struct av *av, struct wf_video_info *info, struct wf_error *err)
{
    WF_TRY(open_demuxer(av, err));
    WF_TRY(open_decoder(av, err));
    WF_TRY(decode(av, WF_REFUSED, err));
    if (!av->frame->data[0])
        return wf_fail(err, WF_REFUSED, "%s: holds no frame; give it a clip", av->path);
    av->waiting = true;
    av->pix_fmt = (enum AVPixelFormat)av->frame->format;
    av->width = av->frame->width;
    av->height = av->frame->height;
    if (!av_pix_fmt_desc_get(av->pix_fmt) || planar_of(av->pix_fmt) == AV_PIX_FMT_NONE)
        return wf_fail(err, WF_REFUSED,
                       "%s: its pixels cannot be compared; write it in another form", av->path);
    describe(av, &info->format);
    const AVRational rate = av_guess_frame_rate(av->demuxer, av->stream, NULL);
    if (rate.num > 0 && rate.den > 0) {
        info->fps_num = rate.num;
        info->fps_den = rate.den;
    }
    return open_scaler(av, err);
}

static enum wf_status open_file(struct av *av, struct wf_video_info *info, struct wf_error *err)
{
    uint64_t size;
    WF_TRY(wf_file_open(av->path, &av->fd, &size, err));
    av->size = (int64_t)size;
    av_log_set_level(AV_LOG_QUIET); /* as in av.c */
    av->packet = av_packet_alloc();
    av->frame = av_frame_alloc();
    if (!av->packet || !av->frame)
        return wf_fail_memory(err, "compare", sizeof *av->frame);
    WF_TRY(open_demuxer(av, err));
    WF_TRY(count_frames(av, &info->frames, err));
    close_demuxer(av); /* not every file can be gone back in: it is opened anew */
    return open_first(av, info, err);
}

static enum wf_status av_open(const char *path, struct wf_mem *mem, struct wf_video_info *info,
                              void **state, struct wf_error *err)
{
    *state = NULL;
    struct av *av = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *av);
    if (!av)
        return wf_fail_memory(err, "compare", sizeof *av);
    av->path = path;
    av->fd = -1;
    const enum wf_status status = open_file(av, info, err);
    if (status == WF_OK)
        *state = av;
    else
        av_close(av);
    return status;
}

static enum wf_status check_frame(const struct av *av, struct wf_error *err)
{
    const AVFrame *frame = av->frame;
    if (!frame->data[0] || (frame->format == (int)av->pix_fmt && frame->width == av->width &&
                            frame->height == av->height))
        return WF_OK;
    return wf_fail(err, WF_FAILED,
                   "%s: frame %lld is %dx%d in %s, unlike the first; compare clips of one size",
                   av->path, (long long)av->given, frame->width, frame->height,
                   av_get_pix_fmt_name((enum AVPixelFormat)frame->format));
}

/* Components in the order of the descriptor: Y, Cb, Cr or R, G, B, whatever planes they are in. */
static void give(const AVFrame *frame, struct wf_picture *picture)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    for (int i = 0; frame->data[0] && i < (d->nb_components < 3 ? 1 : WF_PLANES); i++) {
        picture->plane[i] = frame->data[d->comp[i].plane];
        picture->stride[i] = frame->linesize[d->comp[i].plane];
    }
}

static enum wf_status av_next(void *state, struct wf_picture *picture, struct wf_error *err)
{
    struct av *av = state;
    if (!av->waiting)
        WF_TRY(decode(av, WF_FAILED, err));
    av->waiting = false;
    WF_TRY(check_frame(av, err));
    const AVFrame *frame = av->frame;
    if (av->scaler && frame->data[0]) {
        sws_scale(av->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0,
                  frame->height, av->planar->data, av->planar->linesize);
        frame = av->planar;
    }
    give(frame, picture);
    av->given++;
    return WF_OK;
}

const struct wf_video_driver wf_video_av = {
    .takes = av_takes, .open = av_open, .next = av_next, .close = av_close};
