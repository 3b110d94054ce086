#include "tests/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/weights/safetensors.h"

static bool copy_out(const struct wf_st_tensor *t, struct array *out)
{
    *out = (struct array){.rank = t->rank, .count = t->bytes / wf_dtype_bytes(t->dtype)};
    for (int i = 0; i < t->rank; i++)
        out->dim[i] = (long long)t->dim[i];
    out->data = malloc(out->count * sizeof(float) + 1);
    if (!out->data)
        return false;
    return wf_source_f32(&t->source, 0, out->count, out->data, NULL) == WF_OK;
}

bool array_read(const char *path, const char *name, struct array *out)
{
    struct wf_mem *mem = wf_mem_open();
    struct wf_st_file *file = NULL;
    struct wf_error err = {0};
    bool ok = false;
    *out = (struct array){0};
    if (wf_st_open(path, mem, &file, &err) != WF_OK) {
        fprintf(stderr, "%s\n", err.text);
    } else {
        const struct wf_st_tensor *t = wf_st_find(file, name);
        ok = t && copy_out(t, out);
        if (!ok)
            fprintf(stderr, "%s: no tensor %s\n", path, name);
    }
    wf_st_close(&file);
    wf_mem_close(&mem);
    return ok;
}

void array_free(struct array *a)
{
    free(a->data);
    *a = (struct array){0};
}

bool array_same_dims(const struct array *a, const struct array *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dim[i] == b->dim[i];
    return same;
}

double relative_l2(const float *a, const float *b, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        size += (double)b[i] * (double)b[i];
    }
    if (!isfinite(difference))
        return INFINITY;
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

double largest_difference(const float *a, const float *b, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= largest))
            largest = isnan(d) ? INFINITY : d;
    }
    return largest;
}

double psnr(const float *a, const float *b, size_t count)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return squares == 0 ? INFINITY : 10 * log10((double)count / squares);
}

double share_within(const float *a, const float *b, size_t count, double bound)
{
    size_t within = 0;
    for (size_t i = 0; i < count; i++)
        within += fabs((double)a[i] - (double)b[i]) <= bound;
    return count ? (double)within / (double)count : 1;
}
