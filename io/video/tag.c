#include "io/video/tag.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

#ifdef WEFT_HAVE_FFMPEG
#include <libavformat/avformat.h>
#endif

enum { SIGNATURE = 8, MOST = 4 << 20 /* bytes of a text */ };

static enum wf_status keep(const char *path, const char *found, struct wf_mem *mem, char **text,
                           struct wf_error *err)
{
    if (!found)
        return wf_fail(err, WF_REFUSED,
                       "%s: it does not say how it was made; take a clip that weft wrote, in mp4, "
                       "mov, mkv, webm or png",
                       path);
    *text = wf_strdup(mem, found);
    return *text ? WF_OK : wf_fail_memory(err, path, strlen(found) + 1);
}

/* --- png --- */

/* libpng expects no return from an error. */
static void fail_reader(png_structp reader, png_const_charp message)
{
    (void)message;
    png_longjmp(reader, 1);
}

static void ignore_warning(png_structp reader, png_const_charp message)
{
    (void)reader, (void)message;
}

static const char *find_text(png_structp reader, png_infop info)
{
    png_textp texts = NULL;
    const int count = png_get_text(reader, info, &texts, NULL);
    for (int i = 0; i < count; i++) {
        if (strcmp(texts[i].key, "weft") == 0)
            return texts[i].text;
    }
    return NULL;
}

/* The head is enough: the text stands before the pixels. */
static bool read_head(png_structp reader, png_infop info, FILE *file)
{
    if (setjmp(png_jmpbuf(reader)) != 0)
        return false;
    png_set_chunk_malloc_max(reader, MOST);
    png_init_io(reader, file);
    png_read_info(reader, info);
    return true;
}

static enum wf_status read_png(const char *path, FILE *file, struct wf_mem *mem, char **text,
                               struct wf_error *err)
{
    png_structp reader =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, fail_reader, ignore_warning);
    png_infop info = reader ? png_create_info_struct(reader) : NULL;
    enum wf_status status;
    if (!info)
        status = wf_fail_memory(err, path, 0);
    else if (!read_head(reader, info, file))
        status = wf_fail(err, WF_REFUSED, "%s: a damaged PNG; copy it again", path);
    else
        status = keep(path, find_text(reader, info), mem, text, err);
    png_destroy_read_struct(&reader, &info, NULL);
    return status;
}

/* --- what libavformat reads --- */

#ifdef WEFT_HAVE_FFMPEG
static enum wf_status read_clip(const char *path, struct wf_mem *mem, char **text,
                                struct wf_error *err)
{
    AVFormatContext *clip = NULL;
    AVDictionary *options = NULL;
    char url[4200];
    av_log_set_level(AV_LOG_QUIET);
    snprintf(url, sizeof url, "file:%s", path); /* a name with a colon is a name */
    /* Of what weft writes: playlists, for one, name other files. */
    int code = av_dict_set(&options, "format_whitelist", "mov,matroska", 0);
    if (code >= 0)
        code = avformat_open_input(&clip, url, NULL, &options);
    av_dict_free(&options);
    if (code < 0)
        return wf_fail(err, WF_REFUSED, "%s: this is no clip that FFmpeg can read; give another",
                       path);
    const AVDictionaryEntry *tag = av_dict_get(clip->metadata, "comment", NULL, 0);
    const enum wf_status status = keep(path, tag ? tag->value : NULL, mem, text, err);
    avformat_close_input(&clip);
    return status;
}
#else
static enum wf_status read_clip(const char *path, struct wf_mem *mem, char **text,
                                struct wf_error *err)
{
    (void)mem, (void)text;
    return wf_fail(err, WF_REFUSED,
                   "%s: no PNG, and this build has no FFmpeg to read anything else", path);
}
#endif

enum wf_status wf_tag_read(const char *path, struct wf_mem *mem, char **text, struct wf_error *err)
{
    unsigned char head[SIGNATURE] = {0};
    uint64_t bytes;
    int fd;
    *text = NULL;
    WF_TRY(wf_file_open(path, &fd, &bytes, err));
    const ssize_t got = pread(fd, head, sizeof head, 0);
    FILE *file = fdopen(fd, "rb");
    if (!file) {
        close(fd);
        return wf_fail_memory(err, path, 0);
    }
    const bool is_png = got == SIGNATURE && png_sig_cmp(head, 0, SIGNATURE) == 0;
    const enum wf_status status =
        is_png ? read_png(path, file, mem, text, err) : read_clip(path, mem, text, err);
    fclose(file);
    return status;
}
