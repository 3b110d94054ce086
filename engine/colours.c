#include "engine/colours.h"

#include <math.h>

enum { RGB = 3 };

static const double ridge = 1e-6; /* beside a channel of deviation 1 */

enum wf_status wf_colours_open(int64_t channels, struct wf_mem *mem, struct wf_colours *c,
                               struct wf_error *err)
{
    const size_t n = (size_t)channels + 1, values = 2 * n * (n + RGB);
    *c = (struct wf_colours){.channels = channels};
    c->weight = wf_calloc(mem, WF_MEM_MISC, values, sizeof *c->weight);
    if (!c->weight)
        return wf_fail_memory(err, "preview", values * sizeof *c->weight);
    c->target = c->weight + n * RGB;
    c->square = c->target + n * RGB;
    c->factor = c->square + n * n;
    return WF_OK;
}

void wf_colours_close(struct wf_colours *c)
{
    wf_free(c->weight);
    *c = (struct wf_colours){0};
}

/* The last input is 1: what it is multiplied by is the colour of latents that are 0. */
static double input(const struct wf_colours *c, const float *latent, int64_t i)
{
    return i < c->channels ? (double)latent[i] : 1;
}

void wf_colours_add(struct wf_colours *c, const float *latent, const double rgb[3])
{
    const int64_t n = c->channels + 1;
    for (int64_t i = 0; i < n; i++) {
        const double x = input(c, latent, i);
        for (int64_t j = 0; j <= i; j++)
            c->square[i * n + j] += x * input(c, latent, j);
        for (int k = 0; k < RGB; k++)
            c->target[i * RGB + k] += x * rgb[k];
    }
    c->cells++;
}

void wf_colours_fade(struct wf_colours *c, double share)
{
    const int64_t n = c->channels + 1;
    for (int64_t i = 0; i < n * n; i++)
        c->square[i] *= share;
    for (int64_t i = 0; i < n * RGB; i++)
        c->target[i] *= share;
    c->cells *= share;
}

/* a becomes L of L L^T = square + the ridge, which makes it positive definite; lower halves. The
   last input has no ridge. */
static void factor(const double *square, double added, double *a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double sum = square[i * n + j] + (i == j && i + 1 < n ? added : 0);
            for (int64_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    }
}

/* L L^T x = b, of one colour: b and x are RGB values apart. */
static void substitute(const double *a, int64_t n, const double *b, double *x)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = b[i * RGB];
        for (int64_t k = 0; k < i; k++)
            sum -= a[i * n + k] * x[k * RGB];
        x[i * RGB] = sum / a[i * n + i];
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        double sum = x[i * RGB];
        for (int64_t k = i + 1; k < n; k++)
            sum -= a[k * n + i] * x[k * RGB];
        x[i * RGB] = sum / a[i * n + i];
    }
}

void wf_colours_solve(struct wf_colours *c)
{
    const int64_t n = c->channels + 1;
    factor(c->square, ridge * c->cells, c->factor, n);
    for (int k = 0; k < RGB; k++)
        substitute(c->factor, n, c->target + k, c->weight + k);
}

void wf_colours_apply(const struct wf_colours *c, const float *latent, unsigned char rgb[3])
{
    const double *w = c->weight, *last = w + c->channels * RGB;
    double sum[RGB] = {last[0], last[1], last[2]};
    for (int64_t i = 0; i < c->channels; i++, w += RGB) {
        for (int k = 0; k < RGB; k++)
            sum[k] += (double)latent[i] * w[k];
    }
    for (int k = 0; k < RGB; k++)
        rgb[k] = (unsigned char)(sum[k] > 0 ? (sum[k] < 1 ? sum[k] : 1) * 255 + 0.5 : 0);
}
