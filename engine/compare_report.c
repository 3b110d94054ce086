/* The reports of a comparison for programs, JSON and JUnit XML; and which kind is asked for. */
#include "engine/compare_report.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "engine/report.h"
#include "engine/text/utf8.h"
#include "io/json.h"
#include "io/part.h"

/* --- texts --- */

void wf_report_text(struct wf_report_out *out, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const size_t most = sizeof text - 1;
    wf_output_write(out->file, text, (size_t)length < most ? (size_t)length : most, NULL);
}

/* Bytes that are no UTF-8, and what XML has no place for, become U+FFFD. */
static size_t read_point(const char *text, uint32_t *point)
{
    const size_t bytes = wf_utf8_read(text, point);
    if (!bytes || *point < 0x20 || *point == 0x7f || *point == 0xfffe || *point == 0xffff)
        *point = 0xfffd;
    return bytes ? bytes : 1;
}

void wf_report_escaped(struct wf_report_out *out, const char *text)
{
    while (*text) {
        uint32_t point;
        char utf8[4];
        text += read_point(text, &point);
        const char *entity = point == '&'   ? "&amp;"
                             : point == '<' ? "&lt;"
                             : point == '>' ? "&gt;"
                             : point == '"' ? "&quot;"
                                            : NULL;
        const size_t bytes = entity ? strlen(entity) : wf_utf8_write(utf8, point);
        wf_output_write(out->file, entity ? entity : utf8, bytes, NULL);
    }
}

/* --- JSON --- */

/* null for what no number says: nothing differs, or not known. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *score_json(double score)
{
    return score < 0 ? json_null() : json_real(score);
}

static json_t *metric(double average, double least, int64_t frame)
{
    return json_pack("{s:o, s:o, s:o}", "average", number(average), "min", number(least),
                     "min_frame", isfinite(least) ? json_integer((json_int_t)frame) : json_null());
}

static json_t *thresholds_json(const struct wf_compared *c)
{
    struct wf_threshold t[WF_THRESHOLDS];
    json_t *array = json_array();
    wf_compare_thresholds(c->asked, &c->result, t);
    for (int i = 0; i < WF_THRESHOLDS; i++) {
        if (t[i].asked)
            array = wf_json_plus(array, json_pack("{s:s, s:f, s:o, s:b}", "option", t[i].option,
                                                  "limit", t[i].limit, "found", number(t[i].found),
                                                  "pass", (int)t[i].kept));
    }
    return array;
}

static json_t *frames_json(const struct wf_compared *c)
{
    json_t *psnr = json_array(), *ssim = json_array(), *max_abs = json_array();
    for (int64_t i = 0; i < c->result.frames; i++) {
        psnr = wf_json_plus(psnr, number(c->psnr[i]));
        ssim = wf_json_plus(ssim, number(c->ssim[i]));
        max_abs = wf_json_plus(max_abs, json_integer(c->max_abs[i]));
    }
    return json_pack("{s:o, s:o, s:o}", "psnr", psnr, "ssim", ssim, "max_abs", max_abs);
}

static json_t *root_json(const struct wf_compared *c)
{
    const struct weft_comparison_result *r = &c->result;
    return json_pack(
        "{s:s, s:o, s:o, s:i, s:i, s:I, s:o, s:o, s:o, s:i, s:o, s:o, s:b, s:o, s:f}", "weft",
        weft_version(), "reference", wf_report_string(c->asked->reference), "clip",
        wf_report_string(c->asked->clip), "width", r->width, "height", r->height, "frames",
        (json_int_t)r->frames, "psnr", metric(r->psnr, r->min_psnr, r->min_psnr_frame), "ssim",
        metric(r->ssim, r->min_ssim, r->min_ssim_frame), "per_frame", frames_json(c), "max_abs",
        r->max_abs, "seam", score_json(r->seam), "chunk_edge", score_json(r->chunk_edge), "pass",
        r->pass, "thresholds", thresholds_json(c), "seconds", c->seconds);
}

static int write_bytes(const char *bytes, size_t size, void *out)
{
    return wf_output_write(((struct wf_report_out *)out)->file, bytes, size, NULL) == WF_OK ? 0
                                                                                            : -1;
}

static enum wf_status write_json(struct wf_report_out *out, const struct wf_compared *c,
                                 struct wf_error *err)
{
    json_t *root = root_json(c);
    const int failed = !root || json_dump_callback(root, write_bytes, out,
                                                   JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    wf_report_text(out, "\n");
    WF_TRY(wf_output_status(out->file, err));
    return failed ? wf_fail_memory(err, "report", sizeof *c) : WF_OK;
}

/* --- JUnit --- */

static void write_case(struct wf_report_out *out, const struct wf_compared *c,
                       const struct wf_threshold *t)
{
    wf_report_text(out, "  <testcase classname=\"weft.compare\" name=\"");
    wf_report_escaped(out, c->asked->clip);
    wf_report_text(out, ": --%s %.10g\" time=\"%.3f\"", t->option, t->limit, c->seconds);
    if (t->kept) {
        wf_report_text(out, "/>\n");
        return;
    }
    wf_report_text(out,
                   ">\n    <failure type=\"%s\" message=\"%s %.6g%s, %.10g%s was asked for\"/>\n",
                   t->option, t->name, t->found, t->unit, t->limit, t->unit);
    wf_report_text(out, "  </testcase>\n");
}

/* One test a threshold; without any, one that says that the two could be compared. */
static enum wf_status write_junit(struct wf_report_out *out, const struct wf_compared *c,
                                  struct wf_error *err)
{
    struct wf_threshold t[WF_THRESHOLDS];
    int tests = 0, failures = 0;
    wf_compare_thresholds(c->asked, &c->result, t);
    for (int i = 0; i < WF_THRESHOLDS; i++) {
        tests += t[i].asked;
        failures += t[i].asked && !t[i].kept;
    }
    wf_report_text(out,
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
                   " <testsuite name=\"weft compare\" tests=\"%d\" failures=\"%d\" "
                   "errors=\"0\" skipped=\"0\" time=\"%.3f\">\n",
                   tests ? tests : 1, failures, c->seconds);
    for (int i = 0; i < WF_THRESHOLDS; i++) {
        if (t[i].asked)
            write_case(out, c, &t[i]);
    }
    if (!tests) {
        wf_report_text(out, "  <testcase classname=\"weft.compare\" name=\"");
        wf_report_escaped(out, c->asked->clip);
        wf_report_text(out, "\" time=\"%.3f\"/>\n", c->seconds);
    }
    wf_report_text(out, " </testsuite>\n</testsuites>\n");
    return wf_output_status(out->file, err);
}

/* --- the file --- */

static const struct kind {
    const char *ending;
    enum wf_status (*write)(struct wf_report_out *out, const struct wf_compared *c,
                            struct wf_error *err);
    bool shows; /* pictures */
} kinds[] = {{".json", write_json, false},
             {".xml", write_junit, false},
             {".html", wf_report_html, true},
             {".htm", wf_report_html, true}};

static const struct kind *find_kind(const char *path)
{
    const size_t length = strlen(path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t tail = strlen(kinds[i].ending);
        if (length > tail && strcasecmp(path + length - tail, kinds[i].ending) == 0)
            return &kinds[i];
    }
    return NULL;
}

bool wf_compare_report_shows(const char *path)
{
    const struct kind *kind = find_kind(path);
    return kind && kind->shows;
}

/* Those that stand in one file each; pictures of a series end otherwise than reports. */
static enum wf_status open_file(const struct weft_comparison *a, struct wf_mem *mem,
                                struct wf_output **file, struct wf_error *err)
{
    struct wf_file_set inputs = {0};
    enum wf_status status = wf_file_set_add(&inputs, a->reference, mem, err);
    if (status == WF_OK)
        status = wf_file_set_add(&inputs, a->clip, mem, err);
    if (status == WF_OK)
        status = wf_output_open(a->report, true, &inputs, mem, file, err);
    wf_free(inputs.ids);
    return status;
}

enum wf_status wf_compare_report_check(const struct weft_comparison *a, struct wf_mem *mem,
                                       struct wf_error *err)
{
    struct stat info;
    struct wf_output *file;
    if (!a->report)
        return WF_OK;
    if (!find_kind(a->report))
        return wf_fail(err, WF_REFUSED,
                       "%s: its name tells no kind of report; end it in .html, .json or .xml",
                       a->report);
    if (stat(a->report, &info) == 0 && S_ISFIFO(info.st_mode))
        return WF_OK; /* it would wait for its reader now */
    WF_TRY(open_file(a, mem, &file, err));
    wf_output_discard(&file);
    return WF_OK;
}

enum wf_status wf_compare_report_write(const struct wf_compared *c, struct wf_error *err)
{
    struct wf_report_out out = {.mem = c->mem};
    bool kept;
    wf_part_sweep(c->asked->report, 0, 0);
    WF_TRY(open_file(c->asked, c->mem, &out.file, err));
    const enum wf_status status = find_kind(c->asked->report)->write(&out, c, err);
    if (status == WF_OK)
        return wf_output_commit(&out.file, &kept, err);
    wf_output_discard(&out.file);
    return status;
}
