/* How far a picture is from another of the same format, by the formulas of ffmpeg's psnr and ssim
   filters. */
#ifndef WEFT_IO_VIDEO_METRIC_H
#define WEFT_IO_VIDEO_METRIC_H

#include "io/video/picture.h"
#include "kernels/base/mem.h"
#include "kernels/base/status.h"

struct wf_metric;

struct wf_metric_frame {
    double mse;  /* mean square error over all planes, 1 is white */
    double ssim; /* the planes' by their sizes; NaN where all are smaller than 8 pixels */
    int max_abs; /* largest difference of two samples, 0..255; 0 only where there is none */
};

/* Holds a few lines. On failure *metric is NULL. */
enum wf_status wf_metric_open(const struct wf_picture_format *format, struct wf_mem *mem,
                              struct wf_metric **metric, struct wf_error *err);
void wf_metric_close(struct wf_metric **metric); /* may be called twice */

struct wf_metric_frame wf_metric_measure(struct wf_metric *metric, const struct wf_picture *a,
                                         const struct wf_picture *b);

/* In dB; infinite at 0. */
double wf_metric_psnr(double mse);

#endif
