/* The names of several clips. */
#include <string.h>

#include "engine/engine.h"
#include "io/pattern.h"

enum weft_status weft_clip_path(struct weft_engine *engine, const char *pattern, int frames,
                                int64_t clip, char *path, uint64_t room)
{
    struct wf_pattern p;
    struct wf_error *err = &engine->err;
    const enum wf_pattern_of of = frames ? WF_PATTERN_CLIPS_FRAMES : WF_PATTERN_CLIPS;
    enum wf_status status = wf_pattern_parse(pattern, of, engine->mem, &p, err);
    if (status != WF_OK)
        return (enum weft_status)status;
    if (wf_pattern_room(&p) <= room)
        wf_pattern_name(&p, clip, path);
    else
        status = wf_fail(err, WF_REFUSED, "output: a name of %zu bytes is too long; shorten it",
                         strlen(pattern));
    wf_free(p.text);
    return (enum weft_status)status;
}
