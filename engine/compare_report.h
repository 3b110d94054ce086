/* What the kinds of a comparison's report share. */
#ifndef WEFT_ENGINE_COMPARE_REPORT_H
#define WEFT_ENGINE_COMPARE_REPORT_H

#include "engine/compare.h"
#include "io/output.h"

/* The first failure of a write stays with the file: who has written asks it once, at the end. */
struct wf_report_out {
    struct wf_output *file;
    struct wf_mem *mem;
};

/* At most 1023 bytes. */
void wf_report_text(struct wf_report_out *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* For XML and HTML, in a text or an attribute. */
void wf_report_escaped(struct wf_report_out *out, const char *text);

enum wf_status wf_report_html(struct wf_report_out *out, const struct wf_compared *c,
                              struct wf_error *err);

#endif
