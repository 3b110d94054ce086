/* What the tests compare with: tensors in safetensors files, and how far two of them are apart. */
#ifndef WEFT_TESTS_COMPARE_H
#define WEFT_TESTS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

struct array {
    float *data; /* freed with array_free */
    int rank;
    long long dim[8];
    size_t count;
};

/* Reads a floating tensor of a file as f32; false, with a line on standard error, when there is
 * none. */
bool array_read(const char *path, const char *name, struct array *out);
void array_free(struct array *a);
bool array_same_dims(const struct array *a, const struct array *b);

/* |a - b| / |b| in the Euclidean norm; infinity where a value is not finite. */
double relative_l2(const float *a, const float *b, size_t count);
double largest_difference(const float *a, const float *b, size_t count);
/* Of values within 0..1, in dB; infinity where they are the same. */
double psnr(const float *a, const float *b, size_t count);
/* The share of values whose difference is at most bound. */
double share_within(const float *a, const float *b, size_t count, double bound);

#endif
