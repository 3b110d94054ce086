/* Paths that stand for many: with one %d (or %05d) for a number, in the file's own name, where %%
   is a percent sign. What stands in the folder is as it is. */
#ifndef WEFT_IO_PATTERN_H
#define WEFT_IO_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

/* What is numbered. */
enum wf_pattern_of {
    WF_PATTERN_FRAMES,
    WF_PATTERN_CLIPS,
    WF_PATTERN_CLIPS_FRAMES, /* clips, whose names are patterns of frames: the second number stays
                              */
};

struct wf_pattern {
    char *text;     /* the path with its %d; to be freed with wf_free */
    size_t at, end; /* where that stands in it */
    int digits;     /* of the number at least, padded with zeros */
};

/* WF_REFUSED when the name has another count of numbers, or a % that is neither. */
enum wf_status wf_pattern_parse(const char *path, enum wf_pattern_of of, struct wf_mem *mem,
                                struct wf_pattern *pattern, struct wf_error *err);
/* Bytes of the longest name, with its NUL. */
size_t wf_pattern_room(const struct wf_pattern *pattern);
/* The path with that number; name has wf_pattern_room bytes. */
void wf_pattern_name(const struct wf_pattern *pattern, int64_t number, char *name);

#endif
