/* What the files of a comparison share: all that is known of it once it is done, for its report. */
#ifndef WEFT_ENGINE_COMPARE_H
#define WEFT_ENGINE_COMPARE_H

#include "engine/engine.h"

/* Pictures of a frame to be shown, RGB [height, width, 3]. */
struct wf_shown {
    struct weft_compared_frame frame;
    unsigned char *reference, *clip; /* NULL: none is held here */
};

enum { WF_SHOWN = 4 };

struct wf_compared {
    const struct weft_comparison *asked;
    struct weft_comparison_result result;
    struct wf_mem *mem;
    double *psnr, *ssim; /* a frame each */
    int *max_abs;
    double seconds;
    bool shows;                      /* pictures are kept */
    struct wf_shown shown[WF_SHOWN]; /* the worst frame first, once it is done */
};

/* One of the thresholds, and what became of it. */
struct wf_threshold {
    const char *option, *name, *unit;
    double limit, found;
    bool asked, kept;
};

enum { WF_THRESHOLDS = 3 };

void wf_compare_thresholds(const struct weft_comparison *asked,
                           const struct weft_comparison_result *result,
                           struct wf_threshold thresholds[WF_THRESHOLDS]);

/* Whether the report could be written: WF_REFUSED also where it would take the place of one of the
   clips. Writes nothing. */
enum wf_status wf_compare_report_check(const struct weft_comparison *asked, struct wf_mem *mem,
                                       struct wf_error *err);
enum wf_status wf_compare_report_write(const struct wf_compared *c, struct wf_error *err);
/* Whether it has pictures. */
bool wf_compare_report_shows(const char *path);

#endif
