#include "temporal/sincos.h"

#include <math.h>

void wf_sincos(float *out, int64_t width, double t)
{
    const int64_t half = width / 2;
    for (int64_t i = 0; i < half; i++) {
        const float exponent = -9.210340371976184f * (float)i / (float)half;
        const float angle = (float)t * expf(exponent);
        out[i] = cosf(angle);
        out[half + i] = sinf(angle);
    }
    if (width % 2)
        out[width - 1] = 0;
}
