#include "io/video/convert.h"

#include <math.h>
#include <string.h>

/* Rows give what is made, columns what it is made of: values of 0..1, colour differences of
   -1/2..1/2. */
struct matrix {
    double at[3][3];
};

struct wf_convert {
    struct wf_picture_format from, to;
    struct matrix matrix;
    unsigned char *planes[WF_PLANES];
    ptrdiff_t stride[WF_PLANES];
    /* Lines: one of the whole width in the colours of `to`, sums of such ones, two of samples. */
    double *full[3], *sum[3], *line[2];
    uint16_t *samples;
};

/* --- the colours --- */

static void shares(int matrix, double *red, double *blue)
{
    static const double known[WF_MATRIX_OTHER][2] = {
        [WF_MATRIX_BT601] = {.299, .114},    [WF_MATRIX_BT709] = {.2126, .0722},
        [WF_MATRIX_BT2020] = {.2627, .0593}, [WF_MATRIX_SMPTE240M] = {.212, .087},
        [WF_MATRIX_FCC] = {.30, .11},
    };
    *red = known[matrix][0];
    *blue = known[matrix][1];
}

static struct matrix from_rgb(int matrix)
{
    double r, b;
    shares(matrix, &r, &b);
    const double g = 1 - r - b;
    return (struct matrix){{{r, g, b},
                            {-r / (2 * (1 - b)), -g / (2 * (1 - b)), .5},
                            {.5, -g / (2 * (1 - r)), -b / (2 * (1 - r))}}};
}

static struct matrix to_rgb(int matrix)
{
    double r, b;
    shares(matrix, &r, &b);
    const double g = 1 - r - b;
    return (struct matrix){{{1, 0, 2 * (1 - r)},
                            {1, -2 * b * (1 - b) / g, -2 * r * (1 - r) / g},
                            {1, 2 * (1 - b), 0}}};
}

static struct matrix product(const struct matrix *a, const struct matrix *b)
{
    struct matrix c = {0};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 3; k++)
                c.at[i][j] += a->at[i][k] * b->at[k][j];
        }
    }
    return c;
}

static struct matrix matrix_between(const struct wf_picture_format *from,
                                    const struct wf_picture_format *to)
{
    const bool same = (from->colours == WF_RGB) == (to->colours == WF_RGB) &&
                      (from->colours == WF_RGB || from->matrix == to->matrix);
    if (same)
        return (struct matrix){{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
    if (from->colours == WF_RGB)
        return from_rgb(to->matrix);
    const struct matrix rgb = to_rgb(from->matrix);
    if (to->colours == WF_RGB)
        return rgb;
    const struct matrix back = from_rgb(to->matrix);
    struct matrix both = product(&back, &rgb);
    both.at[0][0] = 1; /* grey stays grey, without the rounding of a product */
    both.at[1][0] = both.at[2][0] = 0;
    return both;
}

/* --- samples --- */

static void range(const struct wf_picture_format *f, int plane, double *unit, double *zero)
{
    const bool colour = plane && f->colours == WF_YUV;
    const double step = 1 << (f->bits - 8), top = (1 << f->bits) - 1;
    *unit = f->full ? top : (colour ? 224 : 219) * step;
    *zero = colour ? 128 * step : f->full ? 0 : 16 * step;
}

/* A line of a plane as it lies; of the colours that grey has not: 0. */
static void load(const struct wf_convert *c, const struct wf_picture *p, int plane, int y,
                 double *to)
{
    double unit, zero;
    const int width = wf_picture_width(&c->from, plane);
    if (plane && c->from.colours == WF_GRAY) {
        memset(to, 0, (size_t)width * sizeof *to);
        return;
    }
    range(&c->from, plane, &unit, &zero);
    wf_picture_line(&c->from, p, plane, y, c->samples);
    for (int x = 0; x < width; x++)
        to[x] = (c->samples[x] - zero) / unit;
}

/* Halves go up, as in yuv.c, whatever the last bit of a sum says. */
static void store(const struct wf_convert *c, int plane, int y, const double *from)
{
    double unit, zero;
    range(&c->to, plane, &unit, &zero);
    const double top = (1 << c->to.bits) - 1;
    unsigned char *line = c->planes[plane] + y * c->stride[plane];
    for (int x = 0; x < wf_picture_width(&c->to, plane); x++) {
        const double value = fmin(fmax(floor(from[x] * unit + zero + (.5 + 1e-9)), 0), top);
        if (c->to.bits > 8)
            ((uint16_t *)(void *)line)[x] = (uint16_t)value;
        else
            line[x] = (unsigned char)value;
    }
}

/* --- lines of the whole width --- */

/* Which two samples a position lies between, of 1 << share that one stands for. */
static int between(int at, int share, bool centred, int count, int *second, double *weight)
{
    const int size = 1 << share;
    const double position = (centred ? at + .5 : at) / size - (centred ? .5 : 0);
    const double first = floor(position);
    *weight = position - first;
    const int low = (int)first, high = low + 1;
    *second = high < count ? high : count - 1;
    return low > 0 ? low : 0;
}

/* A line of the picture's whole size, in its own colours. */
static void load_full(struct wf_convert *c, const struct wf_picture *p, int plane, int y,
                      double *to)
{
    const struct wf_picture_format *f = &c->from;
    if (!plane || f->colours != WF_YUV || (!f->columns && !f->rows)) {
        load(c, p, plane, y, to);
        return;
    }
    const int width = wf_picture_width(f, plane);
    double weight;
    int second;
    const int first =
        between(y, f->rows, f->rows > 0, wf_picture_height(f, plane), &second, &weight);
    load(c, p, plane, first, c->line[0]);
    load(c, p, plane, second, c->line[1]);
    for (int x = 0; x < width; x++)
        c->line[0][x] += weight * (c->line[1][x] - c->line[0][x]);
    for (int x = 0; x < f->width; x++) {
        const int left = between(x, f->columns, f->columns && f->centred, width, &second, &weight);
        to[x] = c->line[0][left] + weight * (c->line[0][second] - c->line[0][left]);
    }
}

static void apply(const struct matrix *m, double *const row[3], int width)
{
    for (int x = 0; x < width; x++) {
        const double v[3] = {row[0][x], row[1][x], row[2][x]};
        for (int i = 0; i < 3; i++)
            row[i][x] = m->at[i][0] * v[0] + m->at[i][1] * v[1] + m->at[i][2] * v[2];
    }
}

static void make_full(struct wf_convert *c, const struct wf_picture *p, int y)
{
    for (int plane = 0; plane < 3; plane++)
        load_full(c, p, plane, y, c->full[plane]);
    apply(&c->matrix, c->full, c->from.width);
}

/* --- colour that is shared --- */

/* One sample for 1 << columns: as yuv.c does it, where it is sited on the first of two. */
static double shared(const struct wf_picture_format *f, const double *line, int x)
{
    const int size = 1 << f->columns, first = x * size, last = f->width - 1;
    if (size == 2 && !f->centred)
        return (line[first ? first - 1 : 0] + 2 * line[first] +
                line[first < last ? first + 1 : last]) /
               4;
    double sum = 0;
    for (int i = first; i < first + size; i++)
        sum += line[i < last ? i : last];
    return sum / size;
}

/* A line of colour, and the lines of luma that share it. */
static void share_lines(struct wf_convert *c, const struct wf_picture *p, int line)
{
    const struct wf_picture_format *f = &c->to;
    const int size = 1 << f->rows, last = f->height - 1;
    const size_t bytes = (size_t)f->width * sizeof(double);
    memset(c->sum[1], 0, bytes);
    memset(c->sum[2], 0, bytes);
    for (int y = line * size; y < line * size + size; y++) {
        if (y <= last) {
            make_full(c, p, y);
            store(c, 0, y, c->full[0]);
        } /* else the last counts again */
        for (int x = 0; x < f->width; x++) {
            c->sum[1][x] += c->full[1][x] / size;
            c->sum[2][x] += c->full[2][x] / size;
        }
    }
    for (int plane = 1; plane < 3; plane++) {
        for (int x = 0; x < wf_picture_width(f, plane); x++)
            c->sum[0][x] = shared(f, c->sum[plane], x);
        store(c, plane, line, c->sum[0]);
    }
}

/* Colours of the same shares: without the luma, of which they need nothing. */
static void keep_shares(struct wf_convert *c, const struct wf_picture *p)
{
    const double(*m)[3] = c->matrix.at;
    for (int y = 0; y < c->to.height; y++) {
        make_full(c, p, y);
        store(c, 0, y, c->full[0]);
    }
    for (int y = 0; y < wf_picture_height(&c->to, 1); y++) {
        load(c, p, 1, y, c->line[0]);
        load(c, p, 2, y, c->line[1]);
        for (int x = 0; x < wf_picture_width(&c->to, 1); x++) {
            c->sum[1][x] = m[1][1] * c->line[0][x] + m[1][2] * c->line[1][x];
            c->sum[2][x] = m[2][1] * c->line[0][x] + m[2][2] * c->line[1][x];
        }
        store(c, 1, y, c->sum[1]);
        store(c, 2, y, c->sum[2]);
    }
}

struct wf_picture wf_convert_run(struct wf_convert *c, const struct wf_picture *from)
{
    const struct wf_picture_format *f = &c->from, *t = &c->to;
    if (f->colours == WF_YUV && t->colours == WF_YUV && f->columns == t->columns &&
        f->rows == t->rows) {
        keep_shares(c, from);
    } else if (t->colours == WF_YUV) {
        for (int line = 0; line < wf_picture_height(t, 1); line++)
            share_lines(c, from, line);
    } else {
        for (int y = 0; y < t->height; y++) {
            make_full(c, from, y);
            for (int plane = 0; plane < wf_picture_planes(t); plane++)
                store(c, plane, y, c->full[plane]);
        }
    }
    struct wf_picture made = {0};
    for (int plane = 0; plane < wf_picture_planes(t); plane++) {
        made.plane[plane] = c->planes[plane];
        made.stride[plane] = c->stride[plane];
    }
    return made;
}

/* --- opening --- */

static enum wf_status take_memory(struct wf_convert *c, struct wf_mem *mem, struct wf_error *err)
{
    enum { LINES = 8 };
    const size_t width = (size_t)c->to.width;
    const size_t bytes = width * (LINES * sizeof(double) + sizeof(uint16_t));
    double *lines = c->full[0] = wf_alloc(mem, WF_MEM_MISC, bytes);
    if (!lines)
        return wf_fail_memory(err, "compare", bytes);
    for (size_t i = 0; i < 3; i++) {
        c->full[i] = lines + i * width;
        c->sum[i] = lines + (3 + i) * width;
    }
    c->line[0] = lines + 6 * width;
    c->line[1] = lines + 7 * width;
    c->samples = (uint16_t *)(lines + LINES * width);
    for (int plane = 0; plane < wf_picture_planes(&c->to); plane++) {
        c->stride[plane] = (ptrdiff_t)wf_picture_width(&c->to, plane) * (c->to.bits > 8 ? 2 : 1);
        const size_t size = (size_t)c->stride[plane] * (size_t)wf_picture_height(&c->to, plane);
        c->planes[plane] = wf_alloc(mem, WF_MEM_FRAMES, size);
        if (!c->planes[plane])
            return wf_fail_memory(err, "compare", size);
    }
    return WF_OK;
}

static bool is_known(const struct wf_picture_format *f)
{
    return f->colours == WF_RGB || f->matrix < WF_MATRIX_OTHER;
}

enum wf_status wf_convert_open(const struct wf_picture_format *from,
                               const struct wf_picture_format *to, struct wf_mem *mem,
                               struct wf_convert **convert, struct wf_error *err)
{
    *convert = NULL;
    if (!is_known(from) || !is_known(to))
        return wf_fail(err, WF_REFUSED,
                       "compare: one of the clips has colours of a kind (YCgCo, ICtCp, ...) that "
                       "cannot be converted; write it in BT.709");
    struct wf_convert *c = wf_calloc(mem, WF_MEM_MISC, 1, sizeof *c);
    if (!c)
        return wf_fail_memory(err, "compare", sizeof *c);
    c->from = *from;
    c->to = *to;
    c->matrix = matrix_between(from, to);
    const enum wf_status status = take_memory(c, mem, err);
    if (status == WF_OK)
        *convert = c;
    else
        wf_convert_close(&c);
    return status;
}

void wf_convert_close(struct wf_convert **convert)
{
    struct wf_convert *c = *convert;
    if (!c)
        return;
    for (int plane = 0; plane < WF_PLANES; plane++)
        wf_free(c->planes[plane]);
    wf_free(c->full[0]);
    wf_free(c);
    *convert = NULL;
}
