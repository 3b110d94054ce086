/* Pictures by libpng. */
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "io/image_format.h"

/* Of what may hold an orientation: a text that is packed tightly grows a thousandfold, and the
   length that a chunk says need not be there. */
enum {
    MOST_MEGABYTES = 8, /* of one, unpacked */
    MOST_CHUNKS = 64,   /* that are kept; what follows them is not looked at */
};

/* A picture that is being read, libpng's view of it, and what went wrong. */
struct reader {
    const struct wf_image_source *source;
    struct wf_image *image;
    int *orientation;
    enum wf_status status;
    png_structp png;
    png_infop info;
};

/* What libpng can do without is lost when this fails, and no error follows: status tells. */
static png_voidp take_memory(png_structp png, png_alloc_size_t bytes)
{
    struct reader *r = png_get_mem_ptr(png);
    if (bytes > (png_alloc_size_t)MOST_MEGABYTES << 20) {
        r->status = wf_fail(r->source->err, WF_REFUSED,
                            "%s: a PNG with a text or EXIF of more than %d MiB; save it without",
                            r->source->path, MOST_MEGABYTES);
        return NULL;
    }
    void *memory = wf_alloc(r->source->mem, WF_MEM_MISC, bytes);
    if (!memory)
        r->status = wf_fail_memory(r->source->err, r->source->path, bytes);
    return memory;
}

static void give_memory(png_structp png, png_voidp memory)
{
    (void)png;
    wf_free(memory);
}

/* libpng expects no return from an error. */
static void fail_decoder(png_structp png, png_const_charp text)
{
    struct reader *r = png_get_error_ptr(png);
    if (r->status == WF_OK) /* else it is the consequence of what is told already */
        r->status = wf_fail(r->source->err, WF_REFUSED,
                            "%s: cannot be read as PNG (%.200s); copy or save it again",
                            r->source->path, text);
    png_longjmp(png, 1);
}

/* What is damaged and matters is an error. */
static void ignore_warning(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static void read_bytes(png_structp png, png_bytep data, size_t bytes)
{
    struct reader *r = png_get_io_ptr(png);
    size_t got = bytes;
    if (r->status == WF_OK)
        r->status = wf_image_source_read(r->source, data, bytes, &got);
    if (r->status == WF_OK && got < bytes)
        r->status = wf_image_source_short(r->source);
    if (r->status != WF_OK)
        png_longjmp(png, 1);
}

/* --- the orientation --- */

/* eXIf is kept as it stands: libpng drops one that begins with "Exif\0\0", which some write. */
static int orientation_of_chunk(const struct reader *r)
{
    png_unknown_chunkp chunks;
    int orientation = 0;
    const int count = png_get_unknown_chunks(r->png, r->info, &chunks);
    for (int i = 0; i < count; i++)
        if (memcmp(chunks[i].name, "eXIf", 4) == 0)
            orientation = wf_exif_orientation(chunks[i].data, chunks[i].size);
    return orientation;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 'a' - 'A' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* ImageMagick's form of EXIF: "\nexif\n    LENGTH\n", then digits in lines; unpacked in place. */
static int orientation_of_profile(char *text)
{
    const char *blanks = " \t\r\n", *in = text;
    for (int line = 0; line < 3 && in; line++)
        in = (in = strchr(in, '\n')) ? in + 1 : NULL;
    if (!in)
        return 0;
    uint8_t *out = (uint8_t *)text;
    for (in += strspn(in, blanks); *in; in += strspn(in, blanks), out++) {
        const int high = hex_digit(in[0]), low = high < 0 ? -1 : hex_digit(in[1]);
        if (low < 0)
            return 0;
        *out = (uint8_t)(high * 16 + low);
        in += 2;
    }
    return wf_exif_orientation((uint8_t *)text, (size_t)(out - (uint8_t *)text));
}

/* The last text of a name; NULL: none. */
static char *text_of(const struct reader *r, const char *name)
{
    png_textp texts;
    int count;
    char *found = NULL;
    png_get_text(r->png, r->info, &texts, &count);
    for (int i = 0; i < count; i++)
        if (strcmp(texts[i].key, name) == 0)
            found = texts[i].text;
    return found;
}

static int orientation_of(const struct reader *r)
{
    int orientation = orientation_of_chunk(r);
    char *profile = text_of(r, "Raw profile type exif");
    const char *xmp = text_of(r, "XML:com.adobe.xmp");
    if (orientation == 0 && profile)
        orientation = orientation_of_profile(profile);
    if (orientation == 0 && xmp)
        orientation = wf_xmp_orientation((const uint8_t *)xmp, strlen(xmp));
    return orientation;
}

/* --- the decoder --- */

/* Of what is not the picture only that which may hold an orientation is read, and nothing that has
   a wrong checksum is let pass. */
static void set_chunks(const struct reader *r)
{
    static const png_byte exif[] = "eXIf", texts[] = "tEXt\0zTXt\0iTXt";
    png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_AS_DEFAULT, texts, 3);
    png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_ALWAYS, exif, 1);
    png_set_chunk_cache_max(r->png, MOST_CHUNKS);
}

/* Whatever the file holds becomes RGB of 8 bits. */
static int set_transforms(const struct reader *r)
{
    png_set_expand(r->png);
    png_set_strip_16(r->png);
    png_set_strip_alpha(r->png);
    png_set_gray_to_rgb(r->png);
    const int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    return passes;
}

/* May be left by a jump; what it changes is no variable of the function that holds the setjmp. */
static void decode(struct reader *r)
{
    png_set_read_fn(r->png, r, read_bytes);
    set_chunks(r);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours are told in words */
    png_read_info(r->png, r->info);
    if (r->status == WF_OK)
        r->status =
            wf_image_alloc(r->image, r->source->path, png_get_image_width(r->png, r->info),
                           png_get_image_height(r->png, r->info), r->source->mem, r->source->err);
    if (r->status != WF_OK || r->source->size_only)
        return;
    const size_t row = 3 * (size_t)r->image->width;
    const int passes = set_transforms(r);
    if (png_get_rowbytes(r->png, r->info) != row)
        png_error(r->png, "rows of another length than expected");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < r->image->height; y++)
            png_read_row(r->png, r->image->rgb + row * (size_t)y, NULL);
    png_read_end(r->png, r->info);
    *r->orientation = orientation_of(r);
}

static void decode_or_fail(struct reader *r)
{
    if (setjmp(png_jmpbuf(r->png)) == 0)
        decode(r);
}

enum wf_status wf_image_read_png(const struct wf_image_source *source, struct wf_image *image,
                                 int *orientation)
{
    struct reader r = {.source = source, .image = image, .orientation = orientation};
    r.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &r, fail_decoder, ignore_warning, &r,
                                     take_memory, give_memory);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    if (r.info)
        decode_or_fail(&r);
    else if (r.status == WF_OK)
        r.status = wf_fail(source->err, WF_FAILED,
                           "%s: libpng is not the one that weft was built with; build again",
                           source->path);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    return r.status;
}
