/* The picture that a clip begins with: read from PNG and JPEG, brought to the clip's size and to an
   image encoder's. What is computed is what Pillow and diffusers compute. */
#ifndef WEFT_IO_IMAGE_H
#define WEFT_IO_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

enum {
    WF_IMAGE_SIDE = 32768,       /* pixels, the longest side of a picture */
    WF_IMAGE_PIXELS = 178956970, /* of a picture at most, as Pillow has it */
};

struct wf_image {
    int width, height;
    uint8_t *rgb; /* [height, width, 3], of wf_alloc */
    bool blank;   /* nothing is to be read there: of wf_image_measure, and what is made of it */
};

/* Reads a PNG or JPEG, told apart by their first bytes, as Pillow's
   ImageOps.exif_transpose(Image.open(path)).convert("RGB") does, bit by bit: an alpha channel is
   dropped, gamma and colour profiles are ignored, the orientation of EXIF (or else of XMP) is
   applied. Pillow is not followed where it makes 16-bit grey white: the high byte is taken, as it
   is of 16-bit colour. WF_REFUSED for anything that is not such a file, is larger than the limits
   or is damaged, be it at the last byte; *image is empty then. */
enum wf_status wf_image_read(const char *path, struct wf_mem *mem, struct wf_image *image,
                             struct wf_error *err);
/* The same without the pixels: a blank picture, which takes the memory that reading takes, and
   makes the functions below take theirs and compute nothing. For a plan. Of what the file says
   behind its head nothing is looked at. */
enum wf_status wf_image_measure(const char *path, struct wf_mem *mem, struct wf_image *image,
                                struct wf_error *err);
void wf_image_close(struct wf_image *image); /* may be called twice, and for a zeroed one */

/* How a picture of another shape comes to width x height. With "scaled" a resize by Lanczos, with /
   a division of whole numbers that rounds down:
   STRETCH  scaled to width x height, whatever becomes of its shape: diffusers' default.
   CROP     scaled to cover: where width/height is more than the picture's, to
            width x (picture's height * width / picture's width), else to
            (picture's width * height / picture's height) x height; diffusers' "crop".
   PAD      scaled to fit inside: where width/height is less than the picture's, to
            width x (picture's height * width / picture's width), else to
            (picture's width * height / picture's height) x height; no side below 1; black round it.
   CROP and PAD put the scaled picture's left edge at width / 2 - scaled width / 2, its upper edge
   at height / 2 - scaled height / 2. */
enum wf_image_fit { WF_FIT_STRETCH, WF_FIT_CROP, WF_FIT_PAD };

/* Pillow 13's resize((width, height), Image.LANCZOS), bit by bit, into *to, which is another image
   than *from. (Where height shrinks by more than twice the pixels that width does, Pillow up to 12
   differs by its rounding.) Only what is seen of the scaled picture is computed. *to is empty on
   failure. */
enum wf_status wf_image_resize(const struct wf_image *from, int width, int height,
                               enum wf_image_fit fit, struct wf_mem *mem, struct wf_image *to,
                               struct wf_error *err);

/* What Stable Video Diffusion's pipeline gives its image encoder before mean and deviation: a
   Gaussian of as many pixels as the reduction asks for, then bicubic between the corners' centres
   (_resize_with_antialiasing of diffusers). out [height, width, 3] f32, where 0..1 is black to
   white; bicubic may leave these bounds. Within 2e-6 of diffusers in fp32; pictures so small that
   torch refuses to mirror them are mirrored as often as it takes. */
enum wf_status wf_image_antialias(const struct wf_image *from, int width, int height, float *out,
                                  struct wf_mem *mem, struct wf_error *err);

/* Bytes that a PNG of that size takes at most. */
size_t wf_image_png_room(int width, int height);
/* A PNG of rgb [height,width,3] into a file of that room; *bytes of it. quick: a little larger, in
   a part of the time. */
enum wf_status wf_image_encode_png(int width, int height, const unsigned char *rgb, bool quick,
                                   void *file, size_t *bytes, struct wf_error *err);

#endif
