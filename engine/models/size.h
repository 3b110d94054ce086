/* Sizes of clips: what families check alike. */
#ifndef WEFT_ENGINE_MODELS_SIZE_H
#define WEFT_ENGINE_MODELS_SIZE_H

#include <stdint.h>

#include "kernels/base/status.h"

/* Of least, least + unit, least + 2 unit, ... the one nearest to value. */
int64_t wf_size_nearest(int64_t value, int64_t unit, int64_t least);
/* A side in pixels, a multiple of unit and at most `most`; else WF_REFUSED names the nearest. */
enum wf_status wf_size_check_side(const char *name, int value, int64_t unit, int64_t most,
                                  struct wf_error *err);

#endif
