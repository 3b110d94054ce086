#include <png.h>

#include "io/image.h"

static png_image describe(int width, int height)
{
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = PNG_FORMAT_RGB};
}

size_t wf_image_png_room(int width, int height)
{
    const png_image image = describe(width, height);
    return PNG_IMAGE_PNG_SIZE_MAX(image);
}

enum wf_status wf_image_encode_png(int width, int height, const unsigned char *rgb, bool quick,
                                   void *file, size_t *bytes, struct wf_error *err)
{
    png_image image = describe(width, height);
    png_alloc_size_t size = wf_image_png_room(width, height);
    image.flags = quick ? PNG_IMAGE_FLAG_FAST : 0;
    if (!png_image_write_to_memory(&image, file, &size, 0, rgb, 0, NULL))
        return wf_fail(err, WF_FAILED, "the png encoder failed: %.200s", image.message);
    *bytes = size;
    return WF_OK;
}
