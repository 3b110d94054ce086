#include "temporal/window.h"

#include "kernels/base/number.h"

struct wf_size wf_size_scaled(struct wf_size size, int64_t scale)
{
    return (struct wf_size){size.height * scale, size.width * scale};
}

struct wf_window wf_window_whole(struct wf_size frame)
{
    return (struct wf_window){.h = {0, frame.height, WF_SPAN_LAST},
                              .w = {0, frame.width, WF_SPAN_LAST}};
}

static struct wf_span part(int64_t from, int64_t count, int64_t length)
{
    const int64_t to = from + count;
    return (struct wf_span){from, to, to < length ? to : WF_SPAN_LAST};
}

struct wf_window wf_window_tile(struct wf_size frame, int64_t top, int64_t left,
                                struct wf_size tile)
{
    return (struct wf_window){.h = part(top, tile.height, frame.height),
                              .w = part(left, tile.width, frame.width)};
}

/* The next window grows as this one does. */
static struct wf_span grown(struct wf_span s, int64_t reach, int64_t length)
{
    return (struct wf_span){.from = wf_larger(s.from - reach, 0),
                            .to = wf_smaller(s.to + reach, length),
                            .next = wf_larger(s.next - reach, 0)};
}

struct wf_window wf_window_grown(struct wf_window at, int64_t reach, struct wf_size frame)
{
    return (struct wf_window){.h = grown(at.h, reach, frame.height),
                              .w = grown(at.w, reach, frame.width)};
}

static struct wf_span coarser(struct wf_span s, int64_t scale)
{
    return (struct wf_span){
        .from = s.from / scale, .to = (s.to + scale - 1) / scale, .next = s.next / scale};
}

struct wf_window wf_window_coarser(struct wf_window at, int64_t scale)
{
    return (struct wf_window){.h = coarser(at.h, scale), .w = coarser(at.w, scale)};
}

static struct wf_span finer(struct wf_span s, int64_t scale)
{
    return (struct wf_span){.from = s.from * scale,
                            .to = s.to * scale,
                            .next = wf_smaller(s.next * scale, WF_SPAN_LAST)};
}

struct wf_window wf_window_finer(struct wf_window at, int64_t scale)
{
    return (struct wf_window){.h = finer(at.h, scale), .w = finer(at.w, scale)};
}

bool wf_window_same(struct wf_window a, struct wf_window b)
{
    return a.h.from == b.h.from && a.h.to == b.h.to && a.w.from == b.w.from && a.w.to == b.w.to;
}

int64_t wf_window_height(struct wf_window at)
{
    return at.h.to - at.h.from;
}

int64_t wf_window_width(struct wf_window at)
{
    return at.w.to - at.w.from;
}

struct wf_tensor wf_part_slice(struct wf_part part, struct wf_window at)
{
    const struct wf_tensor rows =
        wf_tensor_slice(part.t, 1, at.h.from - part.at.h.from, wf_window_height(at));
    return wf_tensor_slice(rows, 2, at.w.from - part.at.w.from, wf_window_width(at));
}

static void pads(struct wf_span s, int64_t reach, int64_t length, int pad[2])
{
    pad[0] = (int)wf_larger(reach - s.from, 0);
    pad[1] = (int)wf_larger(s.to + reach - length, 0);
}

void wf_window_pads(struct wf_window at, int64_t reach, struct wf_size frame, int pad_h[2],
                    int pad_w[2])
{
    pads(at.h, reach, frame.height, pad_h);
    pads(at.w, reach, frame.width, pad_w);
}
