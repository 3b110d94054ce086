/* A picture in another form: other bits, range, matrix, shares of colour; RGB or not. What has the
   same shares of colour keeps its colour samples apart from the luma, so that nothing is lost but
   the rounding. */
#ifndef WEFT_IO_VIDEO_CONVERT_H
#define WEFT_IO_VIDEO_CONVERT_H

#include "io/video/picture.h"
#include "kernels/base/mem.h"
#include "kernels/base/status.h"

struct wf_convert;

/* Both of one size. Holds one picture. WF_REFUSED where a matrix is none that is known. On failure
 *convert is NULL. */
enum wf_status wf_convert_open(const struct wf_picture_format *from,
                               const struct wf_picture_format *to, struct wf_mem *mem,
                               struct wf_convert **convert, struct wf_error *err);
void wf_convert_close(struct wf_convert **convert); /* may be called twice */

/* Valid until the next call. From 8-bit RGB to limited range it gives what yuv.h gives. */
struct wf_picture wf_convert_run(struct wf_convert *convert, const struct wf_picture *from);

#endif
