/* The report for people: one file that opens anywhere, without scripts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compare_report.h"
#include "io/image.h"

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--card:#f5f6f8;--ink:#1b1f24;--soft:#5c6570;"
    "--line:#d5dae0;--plot:#2563c9;--limit:#b4550b;--good:#17733a;--bad:#b3261e}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1e2329;--ink:#e7eaee;"
    "--soft:#9aa5b1;--line:#363d46;--plot:#6ea8ff;--limit:#f0a35c;--good:#56c27d;--bad:#ff8a80}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:72rem;background:var(--paper);"
    "color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;line-height:1.3;margin:0 0 .25rem}\n"
    "h2{font-size:1.1rem;margin:2rem 0 .75rem}\n"
    "p{margin:.25rem 0;color:var(--soft);overflow-wrap:anywhere}b{color:var(--ink)}\n"
    ".good{color:var(--good)}.bad{color:var(--bad)}\n"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;"
    "margin:1.25rem 0 0}\n"
    ".figures div,figure{background:var(--card);border:1px solid var(--line);border-radius:.5rem}\n"
    ".figures div{padding:.6rem .8rem}.figures span{display:block;font-size:.85rem;"
    "color:var(--soft)}\n"
    ".figures strong{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}\n"
    "table{border-collapse:collapse;margin-top:1.25rem}\n"
    "td,th{padding:.3rem 1rem .3rem 0;text-align:left;border-bottom:1px solid var(--line)}\n"
    "figure{margin:0 0 1rem;padding:.8rem}figcaption{font-size:.9rem;margin-bottom:.5rem}\n"
    ".plot{display:grid;grid-template-columns:3rem minmax(0,1fr);gap:.2rem .5rem;font-size:.8rem;"
    "color:var(--soft);font-variant-numeric:tabular-nums}\n"
    ".plot svg{grid-row:1/3;grid-column:2;width:100%;height:9rem;border-left:1px solid "
    "var(--line);border-bottom:1px solid var(--line);overflow:visible}\n"
    ".plot .top,.plot .low{grid-column:1;text-align:right}.plot .low{align-self:end}\n"
    ".plot .foot{grid-column:2;display:flex;justify-content:space-between}\n"
    ".plot path{fill:none;stroke:var(--plot);stroke-width:1.75;vector-effect:non-scaling-stroke;"
    "stroke-linejoin:round}\n"
    ".plot path.limit{stroke:var(--limit);stroke-dasharray:6 4}\n"
    ".plot path.worst{stroke:var(--bad);stroke-width:9;stroke-linecap:round}\n"
    ".plot rect{fill:transparent}.plot rect:hover{fill:var(--line)}\n"
    ".frames{display:grid;grid-template-columns:repeat(3,1fr);gap:.6rem}\n"
    ".frames div{font-size:.85rem;color:var(--soft);min-width:0}\n"
    ".frames img{display:block;width:100%;height:auto;border-radius:.25rem}\n"
    "@media(max-width:40rem){.frames{grid-template-columns:1fr}}\n";

/* Pictures that are shown larger than they are keep their pixels. */
enum { SMALL_PICTURE = 320 };
static const char small_style[] = ".frames img{image-rendering:pixelated}\n";

/* --- plots --- */

/* What is drawn of each frame. */
struct plot {
    const char *title, *unit;
    double low, high; /* of the axis */
    double limit;     /* not a number: none */
    int digits;
    bool falls; /* the worst is the lowest */
    int64_t worst;
    double (*value)(const struct wf_compared *c, int64_t frame);
};

enum { PLOT_WIDTH = 1000, PLOT_HEIGHT = 100, MOST_POINTS = 1500, MOST_TIPS = 400 };

static double psnr_of(const struct wf_compared *c, int64_t frame)
{
    return c->psnr[frame];
}

static double ssim_of(const struct wf_compared *c, int64_t frame)
{
    return c->ssim[frame];
}

static double max_abs_of(const struct wf_compared *c, int64_t frame)
{
    return c->max_abs[frame];
}

/* Frames stand in the middle of their share of the width. */
static double x_of(const struct wf_compared *c, double frame)
{
    return (frame + .5) * PLOT_WIDTH / (double)c->result.frames;
}

static double y_of(const struct plot *p, double value)
{
    const double share = (value - p->low) / (p->high - p->low);
    return PLOT_HEIGHT * (1 - fmin(fmax(share, 0), 1));
}

/* Where a clip has more frames than can be seen, the worst of a few stands for them. */
static void draw_line(struct wf_report_out *out, const struct wf_compared *c, const struct plot *p)
{
    const int64_t frames = c->result.frames, step = frames / MOST_POINTS + 1;
    wf_report_text(out, "<path d=\"");
    for (int64_t first = 0; first < frames; first += step) {
        double worst = p->value(c, first);
        for (int64_t i = first; i < first + step && i < frames; i++)
            worst = p->falls ? fmin(worst, p->value(c, i)) : fmax(worst, p->value(c, i));
        wf_report_text(out, "%c%.2f %.2f", first ? 'L' : 'M', x_of(c, (double)first),
                       y_of(p, worst));
    }
    wf_report_text(out, "\"/>");
}

/* What a frame has, under the pointer. */
static void draw_tips(struct wf_report_out *out, const struct wf_compared *c, const struct plot *p)
{
    const double width = PLOT_WIDTH / (double)c->result.frames;
    for (int64_t i = 0; i < c->result.frames && c->result.frames <= MOST_TIPS; i++) {
        const double value = p->value(c, i);
        wf_report_text(out,
                       "<rect x=\"%.2f\" y=\"0\" width=\"%.2f\" height=\"%d\"><title>frame %lld: ",
                       (double)i * width, width, PLOT_HEIGHT, (long long)i);
        if (isfinite(value))
            wf_report_text(out, "%.*f%s</title></rect>\n", p->digits, value, p->unit);
        else
            wf_report_text(out, "nothing differs</title></rect>\n");
    }
}

static void draw_marks(struct wf_report_out *out, const struct wf_compared *c, const struct plot *p)
{
    if (isfinite(p->limit))
        wf_report_text(out, "<path class=\"limit\" d=\"M0 %.2fH%d\"/>", y_of(p, p->limit),
                       PLOT_WIDTH);
    if (p->worst >= 0)
        wf_report_text(out, "<path class=\"worst\" d=\"M%.2f %.2fh0\"/>", x_of(c, (double)p->worst),
                       y_of(p, p->value(c, p->worst)));
}

static void draw(struct wf_report_out *out, const struct wf_compared *c, const struct plot *p)
{
    wf_report_text(out, "<figure><figcaption><b>%s</b>", p->title);
    if (p->worst >= 0)
        wf_report_text(out, ", worst %.*f%s at frame %lld", p->digits, p->value(c, p->worst),
                       p->unit, (long long)p->worst);
    if (isfinite(p->limit))
        wf_report_text(out, "; dashed: the threshold, %.10g%s", p->limit, p->unit);
    wf_report_text(out,
                   "</figcaption><div class=\"plot\"><span class=\"top\">%.*f</span>"
                   "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" "
                   "aria-label=\"%s of each frame\">",
                   p->digits, p->high, PLOT_WIDTH, PLOT_HEIGHT, p->title);
    draw_tips(out, c, p);
    draw_line(out, c, p);
    draw_marks(out, c, p);
    wf_report_text(out,
                   "</svg><span class=\"low\">%.*f</span><span class=\"foot\"><span>frame 0</span>"
                   "<span>%lld</span></span></div></figure>\n",
                   p->digits, p->low, (long long)c->result.frames - 1);
}

/* The axis holds all values and the threshold; step is what its ends are whole multiples of. */
static void fit_axis(struct plot *p, const struct wf_compared *c, double step)
{
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = -1; i < c->result.frames; i++) {
        const double value = i < 0 ? p->limit : p->value(c, i);
        if (isfinite(value)) {
            low = fmin(low, value);
            high = fmax(high, value);
        }
    }
    if (!isfinite(low))
        low = high = 0;
    p->low = fmin(p->low, floor(low / step) * step);
    p->high = fmax(p->high, ceil(high / step) * step);
    if (p->high - p->low < step) {
        p->low -= p->falls ? step : 0;
        p->high += p->falls ? 0 : step;
    }
}

static int64_t largest_frame(const struct wf_compared *c)
{
    int64_t found = 0;
    for (int64_t i = 1; i < c->result.frames; i++)
        found = c->max_abs[i] > c->max_abs[found] ? i : found;
    return found;
}

static void draw_plots(struct wf_report_out *out, const struct wf_compared *c)
{
    const struct weft_comparison_result *r = &c->result;
    struct wf_threshold t[WF_THRESHOLDS];
    struct plot plots[] = {
        {"PSNR", " dB", INFINITY, -INFINITY, NAN, 1, true, r->min_psnr_frame, psnr_of},
        {"SSIM", "", INFINITY, 1, NAN, 4, true, isnan(r->ssim) ? -1 : r->min_ssim_frame, ssim_of},
        {"Largest difference", "", 0, 1, NAN, 0, false, largest_frame(c), max_abs_of}};
    static const double steps[] = {1, .01, 5};
    wf_compare_thresholds(c->asked, r, t);
    wf_report_text(out, "<h2>Frame by frame</h2>\n");
    for (int i = 0; i < WF_THRESHOLDS; i++) {
        plots[i].limit = t[i].asked ? t[i].limit : NAN;
        fit_axis(&plots[i], c, steps[i]);
        draw(out, c, &plots[i]);
    }
}

/* --- pictures --- */

static void write_base64(struct wf_report_out *out, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    enum { ROOM = 4096 };
    char text[ROOM];
    size_t used = 0;
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const unsigned word = (unsigned)bytes[i] << 16 | (left > 1 ? bytes[i + 1] : 0u) << 8 |
                              (left > 2 ? bytes[i + 2] : 0u);
        text[used++] = digits[word >> 18];
        text[used++] = digits[word >> 12 & 63];
        text[used++] = left > 1 ? digits[word >> 6 & 63] : '=';
        text[used++] = left > 2 ? digits[word & 63] : '=';
        if (used == ROOM || left <= 3) {
            wf_output_write(out->file, text, used, NULL);
            used = 0;
        }
    }
}

static enum wf_status write_png(struct wf_report_out *out, const struct wf_compared *c,
                                const unsigned char *rgb, struct wf_error *err)
{
    const int width = c->result.width, height = c->result.height;
    size_t bytes = wf_image_png_room(width, height);
    unsigned char *file = wf_alloc(out->mem, WF_MEM_MISC, bytes);
    if (!file)
        return wf_fail_memory(err, "report", bytes);
    const enum wf_status status = wf_image_encode_png(width, height, rgb, false, file, &bytes, err);
    if (status == WF_OK)
        write_base64(out, file, bytes);
    wf_free(file);
    return status;
}

static enum wf_status write_picture(struct wf_report_out *out, const struct wf_compared *c,
                                    const char *title, int64_t frame, const unsigned char *rgb,
                                    struct wf_error *err)
{
    wf_report_text(out,
                   "<div>%s<img alt=\"%s, frame %lld\" width=\"%d\" height=\"%d\" "
                   "src=\"data:image/png;base64,",
                   title, title, (long long)frame, c->result.width, c->result.height);
    WF_TRY(write_png(out, c, rgb, err));
    wf_report_text(out, "\"></div>\n");
    return WF_OK;
}

enum { MOST_GAIN = 64, SEEN_SHARE = 500 };

/* So that all but a few of the differences still fit; those few are white. */
static int find_gain(const struct wf_shown *s, size_t samples)
{
    size_t count[256] = {0}, above = 0;
    int level = 255;
    for (size_t i = 0; i < samples; i++)
        count[abs(s->reference[i] - s->clip[i])]++;
    while (level > 1 && (above += count[level]) <= samples / SEEN_SHARE)
        level--;
    return 255 / level < MOST_GAIN ? 255 / level : MOST_GAIN;
}

static int amplify(const struct wf_shown *s, size_t samples, unsigned char *difference)
{
    const int gain = find_gain(s, samples);
    for (size_t i = 0; i < samples; i++) {
        const int value = gain * abs(s->reference[i] - s->clip[i]);
        difference[i] = (unsigned char)(value < 255 ? value : 255);
    }
    return gain;
}

static enum wf_status write_frame(struct wf_report_out *out, const struct wf_compared *c,
                                  const struct wf_shown *s, unsigned char *difference,
                                  struct wf_error *err)
{
    char title[64];
    const int64_t frame = s->frame.index;
    const size_t samples = (size_t)c->result.width * (size_t)c->result.height * 3;
    snprintf(title, sizeof title, "difference \xc3\x97 %d", amplify(s, samples, difference));
    wf_report_text(out,
                   "<figure><figcaption><b>Frame %lld</b>: PSNR %.2f dB, SSIM %.4f, largest "
                   "difference %d</figcaption><div class=\"frames\">\n",
                   (long long)frame, s->frame.psnr, s->frame.ssim, s->frame.max_abs);
    WF_TRY(write_picture(out, c, "reference", frame, s->reference, err));
    WF_TRY(write_picture(out, c, "clip", frame, s->clip, err));
    WF_TRY(write_picture(out, c, title, frame, difference, err));
    wf_report_text(out, "</div></figure>\n");
    return WF_OK;
}

static enum wf_status write_frames(struct wf_report_out *out, const struct wf_compared *c,
                                   struct wf_error *err)
{
    const size_t bytes = (size_t)c->result.width * (size_t)c->result.height * 3;
    if (!c->shown[0].clip)
        return WF_OK;
    unsigned char *difference = wf_alloc(out->mem, WF_MEM_FRAMES, bytes);
    if (!difference)
        return wf_fail_memory(err, "report", bytes);
    wf_report_text(out, "<h2>The worst frames</h2>\n");
    enum wf_status status = WF_OK;
    for (int i = 0; i < WF_SHOWN && c->shown[i].clip && status == WF_OK; i++)
        status = write_frame(out, c, &c->shown[i], difference, err);
    wf_free(difference);
    return status;
}

/* --- figures --- */

static void write_figure(struct wf_report_out *out, const char *name, double value, int digits,
                         const char *unit)
{
    wf_report_text(out, "<div><span>%s</span><strong>", name);
    if (isfinite(value))
        wf_report_text(out, "%.*f%s", digits, value, unit);
    else
        wf_report_text(out, "%s", isinf(value) ? "identical" : "none");
    wf_report_text(out, "</strong></div>\n");
}

static void write_figures(struct wf_report_out *out, const struct wf_compared *c)
{
    const struct weft_comparison_result *r = &c->result;
    wf_report_text(out, "<div class=\"figures\">\n");
    write_figure(out, "PSNR, average", r->psnr, 2, " dB");
    write_figure(out, "PSNR, worst frame", r->min_psnr, 2, " dB");
    write_figure(out, "SSIM, average", r->ssim, 4, "");
    write_figure(out, "SSIM, worst frame", r->min_ssim, 4, "");
    write_figure(out, "largest difference", r->max_abs, 0, " of 255");
    if (r->seam >= 0)
        write_figure(out, "seam score", r->seam, 3, "");
    if (r->chunk_edge >= 0)
        write_figure(out, "chunk-edge score", r->chunk_edge, 3, "");
    wf_report_text(out, "</div>\n");
}

static void write_thresholds(struct wf_report_out *out, const struct wf_compared *c)
{
    struct wf_threshold t[WF_THRESHOLDS];
    wf_compare_thresholds(c->asked, &c->result, t);
    if (!t[0].asked && !t[1].asked && !t[2].asked)
        return;
    wf_report_text(out, "<table><tr><th>Threshold</th><th>found</th><th></th></tr>\n");
    for (int i = 0; i < WF_THRESHOLDS; i++) {
        if (!t[i].asked)
            continue;
        wf_report_text(out, "<tr><td>--%s %.10g</td><td>", t[i].option, t[i].limit);
        if (isinf(t[i].found))
            wf_report_text(out, "identical");
        else
            wf_report_text(out, "%.6g%s", t[i].found, t[i].unit);
        wf_report_text(out, "</td><td class=\"%s\">%s</td></tr>\n", t[i].kept ? "good" : "bad",
                       t[i].kept ? "passed" : "failed");
    }
    wf_report_text(out, "</table>\n");
}

static const char *verdict(const struct wf_compared *c)
{
    if (!c->result.pass)
        return "Failed: beyond a threshold";
    return isinf(c->result.psnr) ? "Passed: identical" : "Passed";
}

static void write_head(struct wf_report_out *out, const struct wf_compared *c)
{
    const struct weft_comparison_result *r = &c->result;
    wf_report_text(out,
                   "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                   "<title>%s: ",
                   r->pass ? "Passed" : "Failed");
    wf_report_escaped(out, c->asked->clip);
    wf_report_text(out, "</title>\n<style>\n");
    wf_output_write(out->file, style, sizeof style - 1, NULL);
    wf_report_text(out, "%s</style></head><body>\n<h1 class=\"%s\">%s</h1>\n<p><b>",
                   r->width < SMALL_PICTURE ? small_style : "", r->pass ? "good" : "bad",
                   verdict(c));
    wf_report_escaped(out, c->asked->clip);
    wf_report_text(out, "</b> against the reference <b>");
    wf_report_escaped(out, c->asked->reference);
    wf_report_text(out, "</b></p>\n<p>%lld frame%s of %dx%d", (long long)r->frames,
                   r->frames == 1 ? "" : "s", r->width, r->height);
    if (r->fps_num)
        wf_report_text(out, ", %.6g a second", (double)r->fps_num / r->fps_den);
    wf_report_text(out, "; compared by weft %s in %.2f s</p>\n", weft_version(), c->seconds);
}

enum wf_status wf_report_html(struct wf_report_out *out, const struct wf_compared *c,
                              struct wf_error *err)
{
    write_head(out, c);
    write_figures(out, c);
    write_thresholds(out, c);
    if (isfinite(c->result.psnr))
        draw_plots(out, c);
    WF_TRY(write_frames(out, c, err));
    wf_report_text(out, "</body></html>\n");
    return wf_output_status(out->file, err);
}
