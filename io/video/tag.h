/* The text that a clip carries: the tag "comment" of mp4, mov, mkv and webm, the text "weft" of a
   PNG. */
#ifndef WEFT_IO_VIDEO_TAG_H
#define WEFT_IO_VIDEO_TAG_H

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

/* *text is to be freed with wf_free. WF_REFUSED when the file cannot be read, is no such file, or
   has no text. */
enum wf_status wf_tag_read(const char *path, struct wf_mem *mem, char **text, struct wf_error *err);

#endif
