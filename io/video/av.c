/* mp4, mov, mkv and webm by libavformat and libavcodec. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libavutil/intreadwrite.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>

#include "io/video/av_encoder.h"
#include "io/video/driver.h"

enum { BUFFER_BYTES = 1 << 16 };

#if LIBAVFORMAT_VERSION_MAJOR >= 61
typedef const uint8_t written_byte;
#else
typedef uint8_t written_byte;
#endif

struct av {
    struct wf_output *output;
    struct wf_av_encoder encoder;
    AVFormatContext *muxer;
    AVStream *stream;
    int64_t frames;                     /* sent to the encoder */
    int64_t packets, key_frames, rated; /* taken from it; rated: those that told their quantizer */
    double quality;                     /* sum of these */
    bool has_header, live;
};

/* --- bytes between libavformat and the output --- */

/* The output keeps what went wrong; libavformat needs to know only that something did. */
static int write_bytes(void *opaque, written_byte *data, int bytes)
{
    struct av *av = opaque;
    return wf_output_write(av->output, data, (size_t)bytes, NULL) == WF_OK ? bytes : AVERROR(EIO);
}

static int64_t resolve(struct wf_output *output, int64_t now, int64_t offset, int whence)
{
    switch (whence & ~AVSEEK_FORCE) {
    case SEEK_SET:
        return offset;
    case SEEK_CUR:
        return now + offset;
    case SEEK_END:
        return wf_output_size(output) + offset;
    default:
        return -1;
    }
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    struct av *av = opaque;
    if (whence & AVSEEK_SIZE)
        return wf_output_size(av->output);
    const int64_t to = resolve(av->output, wf_output_position(av->output), offset, whence);
    if (to < 0)
        return AVERROR(EINVAL);
    wf_output_seek(av->output, to);
    return to;
}

/* To put the index before the frames, the mp4 muxer reads the file again at a position of its own,
   from its beginning on: it never goes back. */
struct reader {
    struct wf_output *output;
    int64_t position;
};

static int read_bytes(void *opaque, uint8_t *data, int bytes)
{
    struct reader *reader = opaque;
    const int64_t n = wf_output_read(reader->output, reader->position, data, (size_t)bytes);
    if (n < 0)
        return AVERROR(EIO);
    reader->position += n;
    return n ? (int)n : AVERROR_EOF;
}

static int open_reader(AVFormatContext *muxer, AVIOContext **io, const char *url, int flags,
                       AVDictionary **options)
{
    const struct av *av = muxer->opaque;
    (void)url, (void)options;
    *io = NULL;
    if (flags & AVIO_FLAG_WRITE)
        return AVERROR(ENOSYS);
    struct reader *reader = av_mallocz(sizeof *reader);
    unsigned char *buffer = av_malloc(BUFFER_BYTES);
    if (reader && buffer)
        *io = avio_alloc_context(buffer, BUFFER_BYTES, 0, reader, read_bytes, NULL, NULL);
    if (!*io) {
        av_free(buffer);
        av_free(reader);
        return AVERROR(ENOMEM);
    }
    reader->output = av->output;
    return 0;
}

static int close_reader(AVFormatContext *muxer, AVIOContext *io)
{
    (void)muxer;
    av_free(io->opaque);
    av_free(io->buffer);
    avio_context_free(&io);
    return 0;
}

static enum wf_status open_io(struct av *av, struct wf_error *err)
{
    const bool seekable = wf_output_seekable(av->output);
    unsigned char *buffer = av_malloc(BUFFER_BYTES);
    if (buffer)
        av->muxer->pb = avio_alloc_context(buffer, BUFFER_BYTES, 1, av, NULL, write_bytes,
                                           seekable ? seek_bytes : NULL);
    if (!av->muxer->pb) {
        av_free(buffer);
        return wf_fail_memory(err, "output", BUFFER_BYTES);
    }
    av->muxer->flags |= AVFMT_FLAG_CUSTOM_IO;
    av->muxer->opaque = av;
    av->muxer->io_open = open_reader;
    av->muxer->io_close2 = close_reader;
    return WF_OK;
}

/* --- opening --- */

static void av_close(void *state)
{
    struct av *av = state;
    wf_av_encoder_close(&av->encoder);
    if (av->muxer && av->muxer->pb) {
        av_freep(&av->muxer->pb->buffer);
        avio_context_free(&av->muxer->pb);
    }
    avformat_free_context(av->muxer);
    wf_free(av);
}

/* In a pipe a player can start at each fragment or cluster; end_of_part says where they end. */
static const char *muxer_options(const char *format, bool live)
{
    const bool is_mp4 = strcmp(format, "mp4") == 0 || strcmp(format, "mov") == 0;
    if (!live)
        return is_mp4 ? "movflags=+faststart" : "";
    return is_mp4 ? "movflags=+empty_moov+default_base_moof+frag_custom" : "live=1";
}

static enum wf_status open_stream(struct av *av, struct wf_error *err)
{
    const AVCodecContext *codec = av->encoder.codec;
    av->stream = avformat_new_stream(av->muxer, NULL);
    if (!av->stream)
        return wf_fail_memory(err, "output", sizeof(AVStream));
    const int code = avcodec_parameters_from_context(av->stream->codecpar, codec);
    if (code < 0)
        return wf_av_fail(err, WF_FAILED, "cannot describe the stream", code);
    av->stream->time_base = codec->time_base;
    av->stream->avg_frame_rate = codec->framerate;
    av->stream->sample_aspect_ratio = codec->sample_aspect_ratio;
    if (codec->codec_id == AV_CODEC_ID_HEVC) /* the tag that Apple's players know */
        av->stream->codecpar->codec_tag =
            av_codec_get_tag(av->muxer->oformat->codec_tag, AV_CODEC_ID_HEVC) ==
                    MKTAG('h', 'e', 'v', '1')
                ? MKTAG('h', 'v', 'c', '1')
                : 0;
    return WF_OK;
}

static enum wf_status open_muxer(struct av *av, const char *format, bool live, struct wf_error *err)
{
    AVDictionary *options = NULL;
    av->muxer->flags |= AVFMT_FLAG_BITEXACT; /* the same frames give the same file */
    if (live)
        av->muxer->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    int code = av_dict_parse_string(&options, muxer_options(format, live), "=", ",", 0);
    if (code >= 0)
        code = avformat_init_output(av->muxer, &options); /* checks; writes nothing */
    av_dict_free(&options);
    return code < 0 ? wf_av_fail(err, WF_REFUSED, "the container refuses this stream", code)
                    : WF_OK;
}

/* QuickTime counts a text's bytes in 16 bits; libavformat cuts the count, not the text. */
static enum wf_status add_metadata(struct av *av, const char *format, const char *text,
                                   struct wf_error *err)
{
    if (text && strcmp(format, "mov") == 0 && strlen(text) > UINT16_MAX)
        return wf_fail(err, WF_REFUSED,
                       "mov: has no room for metadata with texts this long; choose mp4 or mkv, or "
                       "--no-metadata");
    if (text && av_dict_set(&av->muxer->metadata, "comment", text, 0) < 0)
        return wf_fail_memory(err, "output", strlen(text));
    return WF_OK;
}

static enum wf_status open_parts(struct av *av, const char *format,
                                 const struct wf_sink_config *config, struct wf_error *err)
{
    const char *muxer = strcmp(format, "mkv") == 0 ? "matroska" : format;
    const bool live = av->live = !wf_output_seekable(av->output);
    /* The one way to keep libav from standard error. It is a setting of the whole process, which
       nothing else of ours reads. */
    av_log_set_level(AV_LOG_QUIET);
    const int code = avformat_alloc_output_context2(&av->muxer, NULL, muxer, NULL);
    if (code < 0)
        return wf_av_fail(err, WF_REFUSED, "this FFmpeg cannot write the format", code);
    WF_TRY(wf_av_encoder_open(&av->encoder, config, av->muxer->oformat, live, err));
    WF_TRY(open_io(av, err));
    WF_TRY(open_stream(av, err));
    WF_TRY(add_metadata(av, format, config->metadata, err));
    return open_muxer(av, format, live, err);
}

static enum wf_status av_open(const struct wf_sink_driver *driver,
                              const struct wf_sink_config *config, struct wf_output *output,
                              struct wf_mem *mem, void **state, struct wf_error *err)
{
    *state = NULL;
    struct av *av = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *av);
    if (!av)
        return wf_fail_memory(err, "output", sizeof *av);
    av->output = output;
    const enum wf_status status = open_parts(av, driver->name, config, err);
    if (status != WF_OK)
        av_close(av);
    else
        *state = av;
    return status;
}

/* --- writing --- */

/* The output's own failure says more than libavformat's code for it, and is not always passed on.
 */
static enum wf_status muxed(struct av *av, const char *what, int code, struct wf_error *err)
{
    WF_TRY(wf_output_status(av->output, err));
    if (code < 0)
        return wf_av_fail(err, WF_FAILED, what, code);
    if (av->muxer->pb->error < 0)
        return wf_av_fail(err, WF_FAILED, what, av->muxer->pb->error);
    return WF_OK;
}

static enum wf_status write_header(struct av *av, struct wf_error *err)
{
    const int code = avformat_write_header(av->muxer, NULL);
    av->has_header = code >= 0;
    return muxed(av, "writing the header failed", code, err);
}

static void count_packet(struct av *av, const AVPacket *packet)
{
    size_t bytes = 0;
    const uint8_t *told = av_packet_get_side_data(packet, AV_PKT_DATA_QUALITY_STATS, &bytes);
    av->packets++;
    av->key_frames += (packet->flags & AV_PKT_FLAG_KEY) != 0;
    const int32_t lambda = told && bytes >= 4 ? (int32_t)AV_RL32(told) : -1;
    if (lambda >= 0) { /* libx264 gives a negative one to what it did not quantize */
        av->quality += (double)lambda / FF_QP2LAMBDA;
        av->rated++;
    }
}

/* Parts of half a second, and a new one at each key frame, which come at the seconds. The first
   frame goes alone, to be seen while the others are still made. */
static bool end_of_part(const struct av *av)
{
    if (!av->live)
        return false;
    const int64_t second = av->encoder.codec->gop_size, at = av->packets % second;
    return av->packets == 1 || at == 0 || at == (second + 1) / 2;
}

static enum wf_status write_packets(struct av *av, struct wf_error *err)
{
    AVPacket *packet = av->encoder.packet;
    for (;;) {
        bool has = false;
        WF_TRY(wf_av_encoder_receive(&av->encoder, &has, err));
        if (!has)
            return WF_OK;
        packet->stream_index = av->stream->index;
        count_packet(av, packet);
        packet->duration = 1; /* not every encoder says it, and the last frame needs it */
        av_packet_rescale_ts(packet, av->encoder.codec->time_base, av->stream->time_base);
        int code = av_write_frame(av->muxer, packet);
        av_packet_unref(packet);
        if (code >= 0 && end_of_part(av))
            code = av_write_frame(av->muxer, NULL); /* lets go of what it has */
        WF_TRY(muxed(av, "writing a frame failed", code, err));
    }
}

static enum wf_status av_write(void *state, const void *frame, struct wf_error *err)
{
    struct av *av = state;
    if (!av->has_header)
        WF_TRY(write_header(av, err));
    WF_TRY(wf_av_encoder_send(&av->encoder, frame, av->frames, err));
    av->frames++;
    return write_packets(av, err);
}

static enum wf_status av_finish(void *state, struct wf_error *err)
{
    struct av *av = state;
    WF_TRY(wf_av_encoder_send(&av->encoder, NULL, 0, err));
    WF_TRY(write_packets(av, err));
    const int code = av_write_trailer(av->muxer);
    avio_flush(av->muxer->pb);
    return muxed(av, "writing the end of the file failed", code, err);
}

static void av_count(const void *state, struct wf_sink_stats *stats)
{
    const struct av *av = state;
    const AVCodecContext *codec = av->encoder.codec;
    snprintf(stats->codec, sizeof stats->codec, "%s", codec->codec->name);
    snprintf(stats->pix_fmt, sizeof stats->pix_fmt, "%s", av_get_pix_fmt_name(codec->pix_fmt));
    stats->packets = av->packets;
    stats->key_frames = av->key_frames;
    if (av->rated)
        stats->quality = av->quality / (double)av->rated;
    stats->encode_seconds = av->encoder.seconds;
}

#define AV_DRIVER(format, endings)                                                                 \
    {                                                                                              \
        .name = format, .extensions = endings, .form = WF_SINK_RGB24, .flags = WF_SINK_ENCODER,    \
        .open = av_open, .write = av_write, .finish = av_finish, .count = av_count,                \
        .close = av_close                                                                          \
    }

const struct wf_sink_driver wf_sink_mp4 = AV_DRIVER("mp4", "mp4 m4v");
const struct wf_sink_driver wf_sink_mkv = AV_DRIVER("mkv", "mkv");
const struct wf_sink_driver wf_sink_mov = AV_DRIVER("mov", "mov");
const struct wf_sink_driver wf_sink_webm = AV_DRIVER("webm", "webm");
