#include "vae/row.h"

#include "kernels/base/number.h"
#include "temporal/work.h"

/* Frames between two stages. */
struct hidden {
    struct wf_part part;
    void *data; /* of the pool, to be given back; NULL: somebody else's */
};

/* A run of the row's stages that goes over the frames in one way: stages `begin` .. end-1. */
struct segment {
    int begin, end;
    struct wf_size in, out;    /* a frame before and after it */
    struct wf_part x, y, held; /* whole frames: its input, its result, what it takes from before */
    bool stays;                /* y takes x's place */
    bool first;
};

static const struct wf_vae_stage *stages_of(const struct wf_row *row)
{
    return row->state->vae->stages;
}

static void release(const struct wf_row *row, struct hidden *h)
{
    wf_pool_give(row->state->work.pool, h->data);
    h->data = NULL;
}

/* Frames that a stage makes of t. */
static int64_t frames_after(const struct wf_vae_stage *stage, int64_t t, bool first)
{
    return stage->doubles_time ? 2 * t - first : t;
}

static int64_t frames_through(const struct wf_row *row, int begin, int end, int64_t t, bool first)
{
    for (int s = begin; s < end; s++)
        t = frames_after(&stages_of(row)[s], t, first);
    return t;
}

static enum wf_status new_hidden(const struct wf_row *row, int64_t frames, int64_t channels,
                                 struct wf_window at, struct hidden *h)
{
    struct wf_tensor t;
    WF_TRY(wf_work_take(&row->state->work, WF_F32,
                        WF_DIMS(frames, wf_window_height(at), wf_window_width(at), channels), &t));
    *h = (struct hidden){.part = {.t = t, .at = at}, .data = t.data};
    return WF_OK;
}

/* --- one window through a segment --- */

/* What each stage has to give, from the last one back; returns what the first one needs. A stage
   that doubles gives whole pairs of lines. */
static struct wf_window plan_windows(const struct wf_row *row, const struct segment *g,
                                     struct wf_window at, struct wf_window *windows)
{
    struct wf_size frame = g->out;
    for (int s = g->end - 1; s >= g->begin; s--) {
        const struct wf_vae_stage *stage = &stages_of(row)[s];
        const struct wf_window small = wf_window_coarser(at, stage->scale);
        frame = (struct wf_size){frame.height / stage->scale, frame.width / stage->scale};
        windows[s - g->begin] = wf_window_finer(small, stage->scale);
        at = wf_window_grown(small, stage->reach, frame);
    }
    return at;
}

/* Where a stage's result goes: the segment's place for it, the input's place, or a new one. */
static enum wf_status place_result(const struct wf_row *row, const struct segment *g, int s,
                                   const struct hidden *x, struct wf_window at, int64_t frames,
                                   bool keep_x, struct wf_part y, struct hidden *result)
{
    const struct wf_vae_stage *stage = &stages_of(row)[s];
    if (s == g->end - 1) {
        *result = (struct hidden){.part = {.t = wf_part_slice(y, at), .at = at}};
        return WF_OK;
    }
    if (stage->in_place && x->data && !keep_x && wf_window_same(x->part.at, at)) {
        *result = (struct hidden){.part = {.t = x->part.t, .at = at}, .data = x->data};
        return WF_OK;
    }
    return new_hidden(row, frames, stage->channels, at, result);
}

/* x: the whole input of a stage. */
static enum wf_status survey(const struct wf_row *row, int s, struct wf_tensor x,
                             struct wf_error *err)
{
    if (stages_of(row)[s].barrier != WF_VAE_STATISTICS)
        return WF_OK;
    return row->state->vae->driver->survey(row->state, s, x, err);
}

static enum wf_status run_stage(const struct wf_row *row, int s, const struct wf_vae_pass *pass,
                                struct wf_error *err)
{
    const struct wf_vae *vae = row->state->vae;
    WF_TRY(wf_residency_acquire(vae->res, vae->stages[s].group, err));
    const enum wf_status status = vae->driver->run(row->state, s, pass, err);
    wf_residency_release(vae->res, vae->stages[s].group);
    return status;
}

/* x: at least what the window needs of the segment's input, y: at least the window. */
static enum wf_status run_window(const struct wf_row *row, const struct segment *g,
                                 struct wf_part input, struct wf_window at, struct wf_part y,
                                 bool first, struct wf_error *err)
{
    struct wf_window windows[WF_VAE_STAGES];
    const struct wf_window needed = plan_windows(row, g, at, windows);
    struct wf_size frame = g->in;
    struct hidden held = {.part = g->held}, result;
    struct hidden x = {.part = {.t = wf_part_slice(input, needed), .at = needed}};
    for (int s = g->begin; s < g->end; s++) {
        const struct wf_vae_stage *stage = &stages_of(row)[s];
        const int64_t frames = frames_after(stage, x.part.t.dim[0], first);
        if (stage->holds)
            held = x;
        const bool keep_x = held.data && held.data == x.data;
        WF_TRY(place_result(row, g, s, &x, windows[s - g->begin], frames, keep_x, y, &result));
        const struct wf_vae_pass pass = {
            .x = x.part, .held = held.part, .y = result.part, .frame = frame, .first = first};
        if (s > g->begin)
            WF_TRY(survey(row, s, x.part.t, err));
        WF_TRY(run_stage(row, s, &pass, err));
        if (!keep_x && result.data != x.data)
            release(row, &x);
        if (stage->takes)
            release(row, &held);
        frame = wf_size_scaled(frame, stage->scale);
        x = result;
    }
    return WF_OK;
}

/* --- a segment --- */

/* The tiles of the segment's result, in its own pixels: one, where a tile in its input's place
   would spoil what its neighbours have to see. */
static enum wf_status tiles_of(const struct wf_row *row, const struct segment *g,
                               struct wf_tiles *tiles, struct wf_error *err)
{
    const int64_t scale = row->latents.height * row->state->vae->geometry.spatial / g->out.height;
    const struct wf_vae_stage *stage = &stages_of(row)[g->begin];
    const bool whole = stage->barrier == WF_VAE_FRAME || (g->stays && stage->reach);
    struct wf_size tile = g->out;
    if (row->tile.height && !whole)
        tile = (struct wf_size){wf_divided_up(row->tile.height, scale),
                                wf_divided_up(row->tile.width, scale)};
    return wf_tiles_exact(tiles, g->out, tile, err);
}

/* Lines that all stages of the segment give for a tile of lines from .. to-1 well within a frame.
 */
static int64_t lines_for(const struct wf_row *row, const struct segment *g, int64_t from,
                         int64_t to)
{
    int64_t sum = 0;
    for (int s = g->end - 1; s >= g->begin; s--) {
        const struct wf_vae_stage *stage = &stages_of(row)[s];
        from = from / stage->scale - stage->reach;
        to = wf_divided_up(to, stage->scale) + stage->reach;
        sum += to - from;
    }
    return sum;
}

/* Stages that double give whole pairs of lines, so that it counts where a tile begins: the borders
   between tiles lie so many lines earlier than asked as makes the least work. */
static int64_t border_shift(const struct wf_row *row, const struct segment *g, int64_t tile)
{
    const int64_t scale = g->out.height / g->in.height, within = 64 * scale * tile;
    int64_t best = 0, least = INT64_MAX;
    for (int64_t shift = 0; shift < scale && 2 * scale <= tile; shift++) {
        const int64_t lines = lines_for(row, g, within - shift, within - shift + tile);
        best = lines < least ? shift : best;
        least = lines < least ? lines : least;
    }
    return best;
}

static struct wf_window tile_window(const struct segment *g, struct wf_tile t, struct wf_size shift)
{
    const int64_t top = t.top ? t.top - shift.height : 0, left = t.left ? t.left - shift.width : 0;
    int64_t bottom = t.top + t.height, right = t.left + t.width;
    bottom -= bottom < g->out.height ? shift.height : 0;
    right -= right < g->out.width ? shift.width : 0;
    return wf_window_tile(g->out, top, left, (struct wf_size){bottom - top, right - left});
}

/* All tiles of some of the segment's frames. */
static enum wf_status run_tiles(const struct wf_row *row, const struct segment *g,
                                struct wf_tensor x, struct wf_tensor y, bool first,
                                struct wf_error *err)
{
    struct wf_tiles tiles;
    const struct wf_part input = {.t = x, .at = g->x.at}, result = {.t = y, .at = g->y.at};
    WF_TRY(tiles_of(row, g, &tiles, err));
    const struct wf_size shift = {border_shift(row, g, tiles.tile.height),
                                  border_shift(row, g, tiles.tile.width)};
    for (int64_t i = 0; i < tiles.count; i++) {
        const struct wf_window at = tile_window(g, wf_tiles_at(&tiles, i), shift);
        WF_TRY(run_window(row, g, input, at, result, first, err));
    }
    return WF_OK;
}

/* Where stages carry what they have to from frame to frame, one frame at a time keeps least; a
   device with a queue is given more to do at a time. */
static int64_t piece_frames(const struct wf_row *row, const struct segment *g)
{
    const bool carries = row->state->vae->geometry.causal && !row->state->vae->be->device.queued;
    const bool whole = stages_of(row)[g->begin].barrier == WF_VAE_FRAME;
    return carries && !whole ? 1 : g->x.t.dim[0];
}

static enum wf_status run_segment(const struct wf_row *row, const struct segment *g,
                                  struct wf_error *err)
{
    const int64_t frames = g->x.t.dim[0], piece = piece_frames(row, g);
    WF_TRY(survey(row, g->begin, g->x.t, err));
    for (int64_t i = 0, done = 0; i < frames; i += piece) {
        const bool first = g->first && i == 0;
        const int64_t count = frames - i < piece ? frames - i : piece;
        const int64_t made = frames_through(row, g->begin, g->end, count, first);
        WF_TRY(run_tiles(row, g, wf_tensor_slice(g->x.t, 0, i, count),
                         wf_tensor_slice(g->y.t, 0, done, made), first, err));
        done += made;
    }
    return WF_OK;
}

/* --- the row --- */

/* Where a segment ends that begins there. Stages that see the whole frame go together; where there
   are tiles, a stage that needs statistics begins a new one. */
static int segment_end(const struct wf_row *row, int begin)
{
    const struct wf_vae_stage *stages = stages_of(row);
    const int count = row->state->vae->stage_count;
    int end = begin + 1;
    if (stages[begin].barrier == WF_VAE_FRAME)
        while (end < count && stages[end].barrier == WF_VAE_FRAME)
            end++;
    else
        while (end < count && (!row->tile.height || stages[end].barrier == WF_VAE_FREE))
            end++;
    return end;
}

static struct wf_size size_after(const struct wf_row *row, const struct segment *g)
{
    struct wf_size frame = g->in;
    for (int s = g->begin; s < g->end; s++)
        frame = wf_size_scaled(frame, stages_of(row)[s].scale);
    return frame;
}

/* A stage alone may leave its result in the place of its whole input, which nobody keeps. */
static bool may_stay(const struct wf_row *row, const struct segment *g, const struct hidden *x)
{
    const struct wf_vae_stage *stage = &stages_of(row)[g->begin];
    return g->end - g->begin == 1 && stage->in_place && !stage->holds && x->data;
}

/* The segment's result: the row's own, its input's place, or a new one. */
static enum wf_status begin_segment(const struct wf_row *row, struct segment *g, struct wf_tensor y,
                                    const struct hidden *x, struct hidden *result)
{
    const int last = row->state->vae->stage_count - 1;
    const int64_t frames = frames_through(row, g->begin, g->end, g->x.t.dim[0], g->first);
    g->out = size_after(row, g);
    g->stays = g->end - 1 != last && may_stay(row, g, x);
    if (g->end - 1 == last)
        *result = (struct hidden){.part = {.t = y, .at = wf_window_whole(g->out)}};
    else if (g->stays)
        *result = *x;
    else
        WF_TRY(new_hidden(row, frames, stages_of(row)[g->end - 1].channels, wf_window_whole(g->out),
                          result));
    g->y = result->part;
    return WF_OK;
}

/* What the segment does to what is held from segment to segment; its input is kept or goes. */
static void end_segment(const struct wf_row *row, const struct segment *g, struct hidden *x,
                        struct hidden *held)
{
    bool takes = false;
    for (int s = g->begin; s < g->end; s++)
        takes |= stages_of(row)[s].takes;
    if (takes)
        release(row, held);
    if (stages_of(row)[g->begin].holds && !takes)
        *held = *x;
    else if (!g->stays)
        release(row, x);
}

enum wf_status wf_row_run(const struct wf_row *row, struct wf_tensor z, struct wf_tensor y,
                          bool first, struct wf_error *err)
{
    struct hidden x = {.part = {.t = z, .at = wf_window_whole(row->latents)}}, result;
    struct hidden held = {0};
    struct segment g = {.in = row->latents, .first = first};
    for (; g.begin < row->state->vae->stage_count; g.begin = g.end, g.in = g.out) {
        g.end = segment_end(row, g.begin);
        g.x = x.part;
        g.held = held.part;
        WF_TRY(begin_segment(row, &g, y, &x, &result));
        WF_TRY(run_segment(row, &g, err));
        end_segment(row, &g, &x, &held);
        x = result;
    }
    return WF_OK;
}
