/* Pictures by libjpeg. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h> /* after jpeglib.h, which says what messages there are */

#include "io/image_format.h"

enum {
    CHUNK = 16384,    /* bytes read from the file at once */
    MOST_SCANS = 500, /* each costs a pass over the whole picture, however few bytes it has */
};

/* A picture that is being read, libjpeg's view of it, and what went wrong. */
struct reader {
    const struct wf_image_source *source;
    struct wf_image *image;
    int *orientation;
    enum wf_status status;
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr input;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    JOCTET chunk[CHUNK];
};

/* --- errors --- */

/* libjpeg expects no return from an error. */
_Noreturn static void leave(struct reader *r, enum wf_status status)
{
    r->status = status;
    longjmp(r->jump, 1);
}

static void fail_decoder(j_common_ptr jpeg)
{
    struct reader *r = jpeg->client_data;
    const struct wf_image_source *s = r->source;
    char text[JMSG_LENGTH_MAX];
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        leave(r, wf_fail(s->err, WF_FAILED, "%s: out of memory for decoding it; make it smaller",
                         s->path));
    jpeg->err->format_message(jpeg, text);
    leave(r, wf_fail(s->err, WF_REFUSED, "%s: cannot be read as JPEG (%s); copy or save it again",
                     s->path, text));
}

/* Level -1 is a warning: libjpeg would go on and paint grey what it could not read. Those that do
   not speak of the picture's data are let pass. */
static void judge_message(j_common_ptr jpeg, int level)
{
    const int code = jpeg->err->msg_code;
    if (level < 0 && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR &&
        code != JWRN_NOT_SEQUENTIAL)
        fail_decoder(jpeg);
}

static void watch_scans(j_common_ptr jpeg)
{
    struct reader *r = jpeg->client_data;
    if (r->jpeg.input_scan_number > MOST_SCANS)
        leave(r,
              wf_fail(r->source->err, WF_REFUSED, "%s: a JPEG of more than %d scans; save it again",
                      r->source->path, MOST_SCANS));
}

/* --- the file --- */

static void do_nothing(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

static boolean fill_input(j_decompress_ptr jpeg)
{
    struct reader *r = jpeg->client_data;
    size_t got;
    const enum wf_status status = wf_image_source_read(r->source, r->chunk, CHUNK, &got);
    if (status != WF_OK)
        leave(r, status);
    if (got == 0)
        leave(r, wf_image_source_short(r->source));
    r->input.next_input_byte = r->chunk;
    r->input.bytes_in_buffer = got;
    return TRUE;
}

static void skip_input(j_decompress_ptr jpeg, long bytes)
{
    struct jpeg_source_mgr *input = jpeg->src;
    while (bytes > 0) {
        if (input->bytes_in_buffer == 0)
            fill_input(jpeg);
        const size_t there = input->bytes_in_buffer;
        const size_t now = (size_t)bytes < there ? (size_t)bytes : there;
        input->next_input_byte += now;
        input->bytes_in_buffer -= now;
        bytes -= (long)now;
    }
}

/* --- the orientation --- */

static const char exif_name[] = "Exif\0", xmp_name[] = "http://ns.adobe.com/xap/1.0/";

/* Whether a marker begins with a name and the NUL after it. */
static bool is_named(const struct jpeg_marker_struct *marker, const char *name, size_t bytes)
{
    return marker->data_length >= bytes && memcmp(marker->data, name, bytes) == 0;
}

/* EXIF of more than 64 KB lies in several markers, each with the name before it. */
static int exif_orientation(struct reader *r)
{
    size_t bytes = 0, used = 0;
    for (const struct jpeg_marker_struct *m = r->jpeg.marker_list; m; m = m->next)
        bytes += m->data_length;
    JOCTET *data = r->jpeg.mem->alloc_large((j_common_ptr)&r->jpeg, JPOOL_IMAGE, bytes);
    for (const struct jpeg_marker_struct *m = r->jpeg.marker_list; m; m = m->next) {
        if (!is_named(m, exif_name, sizeof exif_name))
            continue;
        const size_t head = used ? sizeof exif_name : 0;
        memcpy(data + used, m->data + head, m->data_length - head);
        used += m->data_length - head;
    }
    return wf_exif_orientation(data, used);
}

static int find_orientation(struct reader *r)
{
    const struct jpeg_marker_struct *xmp = NULL;
    if (!r->jpeg.marker_list)
        return 0;
    const int orientation = exif_orientation(r);
    for (const struct jpeg_marker_struct *m = r->jpeg.marker_list; m; m = m->next)
        if (is_named(m, xmp_name, sizeof xmp_name))
            xmp = m;
    return orientation == 0 && xmp ? wf_xmp_orientation(xmp->data, xmp->data_length) : orientation;
}

/* --- the decoder --- */

/* x / 255 for x up to 255 * 255, rounded. */
static int divide_by_255(int x)
{
    x += 128;
    return (x + (x >> 8)) >> 8;
}

/* The four inks stand inverted in a file, Adobe's way: 255 is none. */
static void convert_inks(const JSAMPLE *inks, uint8_t *rgb, int pixels)
{
    for (int i = 0; i < pixels; i++, inks += 4, rgb += 3)
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)(inks[3] - divide_by_255((255 - inks[c]) * inks[3]));
}

static void read_rows(struct reader *r)
{
    const bool inks = r->jpeg.out_color_space == JCS_CMYK;
    const size_t row = 3 * (size_t)r->image->width;
    JSAMPARRAY line = NULL;
    if (inks)
        line = r->jpeg.mem->alloc_sarray((j_common_ptr)&r->jpeg, JPOOL_IMAGE,
                                         4 * (JDIMENSION)r->image->width, 1);
    for (int y = 0; y < r->image->height; y++) {
        uint8_t *rgb = r->image->rgb + row * (size_t)y;
        jpeg_read_scanlines(&r->jpeg, inks ? line : &rgb, 1);
        if (inks)
            convert_inks(line[0], rgb, r->image->width);
    }
}

/* May be left by a jump; what it changes is no variable of the function that holds the setjmp. */
static void decode(struct reader *r)
{
    const struct wf_image_source *s = r->source;
    jpeg_create_decompress(&r->jpeg);
    r->jpeg.src = &r->input;
    r->jpeg.progress = &r->progress;
    jpeg_save_markers(&r->jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->jpeg, TRUE);
    const int channels = r->jpeg.num_components;
    if (channels != 1 && channels != 3 && channels != 4)
        leave(r, wf_fail(s->err, WF_REFUSED,
                         "%s: a JPEG of %d channels, where 1, 3 and 4 are known; convert it",
                         s->path, channels));
    const enum wf_status status = wf_image_alloc(r->image, s->path, r->jpeg.image_width,
                                                 r->jpeg.image_height, s->mem, s->err);
    if (status != WF_OK)
        leave(r, status);
    *r->orientation = find_orientation(r);
    if (s->size_only)
        return;
    r->jpeg.out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&r->jpeg);
    read_rows(r);
    jpeg_finish_decompress(&r->jpeg);
}

static void decode_or_fail(struct reader *r)
{
    if (setjmp(r->jump) == 0)
        decode(r);
}

enum wf_status wf_image_read_jpeg(const struct wf_image_source *source, struct wf_image *image,
                                  int *orientation)
{
    struct reader r = {
        .source = source,
        .image = image,
        .orientation = orientation,
        .input = {.init_source = do_nothing,
                  .fill_input_buffer = fill_input,
                  .skip_input_data = skip_input,
                  .resync_to_restart = jpeg_resync_to_restart,
                  .term_source = do_nothing},
        .progress = {.progress_monitor = watch_scans},
    };
    r.jpeg.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = fail_decoder;
    r.errors.emit_message = judge_message;
    r.jpeg.client_data = &r;
    decode_or_fail(&r);
    jpeg_destroy_decompress(&r.jpeg);
    return r.status;
}
