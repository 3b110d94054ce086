/* Arithmetic of lengths that C leaves to everybody. */
#ifndef WEFT_KERNELS_BASE_NUMBER_H
#define WEFT_KERNELS_BASE_NUMBER_H

#include <stdint.h>

static inline int64_t wf_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t wf_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How many of length b reach over a, 0 or more. */
static inline int64_t wf_divided_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

#endif
