#include "io/image.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/image_format.h"

enum { SIGNATURE = 8 }; /* bytes that tell the formats apart */

enum wf_status wf_image_source_read(const struct wf_image_source *source, void *data, size_t bytes,
                                    size_t *got)
{
    for (*got = 0; *got < bytes;) {
        const ssize_t now = read(source->fd, (char *)data + *got, bytes - *got);
        if (now < 0 && errno == EINTR)
            continue;
        if (now < 0)
            return wf_fail(source->err, WF_REFUSED, "%s: cannot be read (%s); check the disk",
                           source->path, strerror(errno));
        if (now == 0)
            break;
        *got += (size_t)now;
    }
    return WF_OK;
}

enum wf_status wf_image_source_short(const struct wf_image_source *source)
{
    return wf_fail(source->err, WF_REFUSED,
                   "%s: ends before its picture does; copy or save it again", source->path);
}

enum wf_status wf_image_check(const char *where, int64_t width, int64_t height,
                              struct wf_error *err)
{
    if (width >= 1 && width <= WF_IMAGE_SIDE && height >= 1 && height <= WF_IMAGE_SIDE &&
        width * height <= WF_IMAGE_PIXELS)
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "%s: a picture of %lldx%lld, where sides are 1 to %d and at most %d pixels in "
                   "all; choose another size",
                   where, (long long)width, (long long)height, WF_IMAGE_SIDE, WF_IMAGE_PIXELS);
}

enum wf_status wf_image_alloc(struct wf_image *image, const char *where, int64_t width,
                              int64_t height, struct wf_mem *mem, struct wf_error *err)
{
    WF_TRY(wf_image_check(where, width, height, err));
    const size_t bytes = 3 * (size_t)width * (size_t)height;
    image->rgb = wf_alloc(mem, WF_MEM_FRAMES, bytes);
    if (!image->rgb)
        return wf_fail_memory(err, where, bytes);
    image->width = (int)width;
    image->height = (int)height;
    image->blank = false;
    return WF_OK;
}

void wf_image_close(struct wf_image *image)
{
    wf_free(image->rgb);
    *image = (struct wf_image){.rgb = NULL};
}

/* --- the orientation --- */

/* How an upright picture is taken from a stored one: its rows are columns there, its columns or
   rows run backwards there. */
struct turn {
    bool swap, from_right, from_below;
};

static const struct turn turns[9] = {
    [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
    [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
    [8] = {true, true, false},
};

/* Row y of the upright picture. */
static void turn_row(const struct wf_image *from, struct turn turn, int y,
                     const struct wf_image *to)
{
    const ptrdiff_t row = 3 * (ptrdiff_t)from->width;
    const ptrdiff_t right = turn.from_right ? -3 : 3, down = turn.from_below ? -row : row;
    const uint8_t *pixel = from->rgb;
    pixel += turn.from_right ? row - 3 : 0;
    pixel += turn.from_below ? row * (from->height - 1) : 0;
    pixel += y * (turn.swap ? right : down);
    const ptrdiff_t step = turn.swap ? down : right;
    uint8_t *out = to->rgb + 3 * (size_t)to->width * (size_t)y;
    for (int x = 0; x < to->width; x++, out += 3)
        memcpy(out, pixel + x * step, 3);
}

static enum wf_status set_upright(struct wf_image *image, int orientation,
                                  const struct wf_image_source *source)
{
    if (orientation < 2)
        return WF_OK;
    const struct turn turn = turns[orientation];
    struct wf_image upright;
    WF_TRY(wf_image_alloc(&upright, source->path, turn.swap ? image->height : image->width,
                          turn.swap ? image->width : image->height, source->mem, source->err));
    for (int y = 0; y < upright.height && !source->size_only; y++)
        turn_row(image, turn, y, &upright);
    wf_image_close(image);
    *image = upright;
    return WF_OK;
}

/* --- reading --- */

static enum wf_status read_any(const struct wf_image_source *source, uint64_t bytes,
                               struct wf_image *image, int *orientation)
{
    uint8_t head[SIGNATURE] = {0};
    if (bytes == 0)
        return wf_fail(source->err, WF_REFUSED, "%s: empty; choose a PNG or JPEG", source->path);
    if (pread(source->fd, head, sizeof head, 0) < 0)
        return wf_fail(source->err, WF_REFUSED, "%s: cannot be read (%s); check the disk",
                       source->path, strerror(errno));
    if (memcmp(head, "\x89PNG\r\n\x1a\n", SIGNATURE) == 0)
        return wf_image_read_png(source, image, orientation);
    if (memcmp(head, "\xff\xd8\xff", 3) == 0)
        return wf_image_read_jpeg(source, image, orientation);
    return wf_fail(source->err, WF_REFUSED, "%s: not a PNG or JPEG; convert it", source->path);
}

static enum wf_status read_file(const char *path, bool size_only, struct wf_mem *mem,
                                struct wf_image *image, struct wf_error *err)
{
    *image = (struct wf_image){.rgb = NULL};
    struct wf_image_source source = {.path = path, .size_only = size_only, .mem = mem, .err = err};
    uint64_t bytes;
    int orientation = 0;
    WF_TRY(wf_file_open(path, &source.fd, &bytes, err));
    enum wf_status status = read_any(&source, bytes, image, &orientation);
    close(source.fd);
    if (status == WF_OK)
        status = set_upright(image, orientation, &source);
    image->blank = size_only;
    if (status != WF_OK)
        wf_image_close(image);
    return status;
}

enum wf_status wf_image_read(const char *path, struct wf_mem *mem, struct wf_image *image,
                             struct wf_error *err)
{
    return read_file(path, false, mem, image, err);
}

enum wf_status wf_image_measure(const char *path, struct wf_mem *mem, struct wf_image *image,
                                struct wf_error *err)
{
    return read_file(path, true, mem, image, err);
}
