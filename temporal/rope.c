#include "temporal/rope.h"

#include <math.h>

static void axis(float *cos_out, float *sin_out, int64_t position, int64_t width)
{
    for (int64_t j = 0; 2 * j < width; j++) {
        const double frequency = 1.0 / pow(10000.0, (double)(2 * j) / (double)width);
        const double angle = (double)position * frequency;
        cos_out[j] = (float)cos(angle);
        sin_out[j] = (float)sin(angle);
    }
}

void wf_rope_table_3d(float *cos_out, float *sin_out, int64_t frames, int64_t rows, int64_t cols,
                      int64_t head_dim)
{
    const int64_t space = 2 * (head_dim / 6), time = head_dim - 2 * space;
    for (int64_t t = 0; t < frames; t++) {
        for (int64_t y = 0; y < rows; y++) {
            for (int64_t x = 0; x < cols; x++) {
                axis(cos_out, sin_out, t, time);
                axis(cos_out + time / 2, sin_out + time / 2, y, space);
                axis(cos_out + (time + space) / 2, sin_out + (time + space) / 2, x, space);
                cos_out += head_dim / 2;
                sin_out += head_dim / 2;
            }
        }
    }
}
