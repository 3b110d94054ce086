/* Between io/image.c and the formats that it reads. */
#ifndef WEFT_IO_IMAGE_FORMAT_H
#define WEFT_IO_IMAGE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/image.h"

/* The file that is being read; owned by wf_image_read. */
struct wf_image_source {
    const char *path;
    int fd;
    bool size_only; /* the pixels stay as the memory has them */
    struct wf_mem *mem;
    struct wf_error *err;
};

/* The next bytes of the file; fewer than asked for only at its end. */
enum wf_status wf_image_source_read(const struct wf_image_source *source, void *data, size_t bytes,
                                    size_t *got);

/* The message of a file that ends before its picture does. */
enum wf_status wf_image_source_short(const struct wf_image_source *source);

/* WF_REFUSED, where named first, for a size outside the limits of io/image.h. */
enum wf_status wf_image_check(const char *where, int64_t width, int64_t height,
                              struct wf_error *err);
/* Checks, then allocates. */
enum wf_status wf_image_alloc(struct wf_image *image, const char *where, int64_t width,
                              int64_t height, struct wf_mem *mem, struct wf_error *err);

/* Each reads a file from its beginning. On failure wf_image_read closes *image. *orientation is as
   the file says it, 0 where it says nothing. */
enum wf_status wf_image_read_png(const struct wf_image_source *source, struct wf_image *image,
                                 int *orientation);
enum wf_status wf_image_read_jpeg(const struct wf_image_source *source, struct wf_image *image,
                                  int *orientation);

/* The orientation, 1 to 8, that an EXIF block says, with or without "Exif\0\0" before it; 0 where
   it says none or is damaged before it does, 1 where it says something else. */
int wf_exif_orientation(const uint8_t *data, size_t bytes);
/* The same of an XMP packet. */
int wf_xmp_orientation(const uint8_t *text, size_t bytes);

#endif
