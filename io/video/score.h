/* Whether the joints of a clip show, in the clip alone: how much it changes across the edges of
   tiles and of chunks, beside what it changes right next to them. */
#ifndef WEFT_IO_VIDEO_SCORE_H
#define WEFT_IO_VIDEO_SCORE_H

#include <stdint.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

/* Ascending, none twice. An edge stands between its position and the one before. */
struct wf_edges {
    const int64_t *at; /* NULL is allowed where count is 0 */
    int64_t count;
};

struct wf_score_config {
    int64_t width, height;         /* pixels, 1 or more */
    struct wf_edges columns, rows; /* of tiles, 1 .. width - 1 and 1 .. height - 1; 0: none */
    struct wf_edges frames; /* of chunks, 1 or more; those past the clip's end do not count */
};

struct wf_score;

/* The edges need to live during this call only. WF_REFUSED where they are not as above. Holds one
   frame at most, and none without edges of chunks. On failure *score is NULL. */
enum wf_status wf_score_open(const struct wf_score_config *config, struct wf_mem *mem,
                             struct wf_score **score, struct wf_error *err);
void wf_score_close(struct wf_score **score); /* may be called twice */

/* The next frame: dense f32 [H,W,3], 0..1, only read during the call. WF_FAILED where a value that
   it looks at, beside an edge, is not finite; the scores say nothing then. */
enum wf_status wf_score_frame(struct wf_score *score, const float *frame, struct wf_error *err);

/* Of the frames so far. Each is the mean |difference| across the edges over the mean of those one
   position to either side of each edge, where the clip has them: about 1 where nothing shows, and 1
   where both means are 0. The seam score takes columns and rows together, over pixels side by side;
   the chunk edge score takes frames one after the other. NaN without an edge, or with nothing to
   either side of any; infinite where only the edges differ. */
double wf_score_seam(const struct wf_score *score);
double wf_score_chunk_edge(const struct wf_score *score);

#endif
