#include "vae/vae.h"

#include <string.h>

static const struct wf_vae_driver *const drivers[] = {&wf_vae_wan};

enum wf_status wf_vae_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                           struct wf_error *err)
{
    *vae = NULL;
    const struct wf_json *config = wf_checkpoint_config(wf_residency_checkpoint(res));
    const char *name = NULL;
    WF_TRY(wf_json_require(config, "_class_name", err));
    WF_TRY(wf_json_string(config, "_class_name", &name, err));
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (strcmp(drivers[i]->class_name, name) == 0)
            return drivers[i]->open(res, mem, vae, err);
    }
    return wf_fail(err, WF_REFUSED, "%s: VAE %s is not known; weft knows %s", config->path, name,
                   drivers[0]->class_name);
}

void wf_vae_close(struct wf_vae **vae)
{
    if (*vae)
        (*vae)->driver->close(*vae);
    *vae = NULL;
}

void wf_vae_state_init(struct wf_vae_state *state, struct wf_backend *be)
{
    wf_arena_init(&state->hidden[0], wf_backend_source(be));
    wf_arena_init(&state->hidden[1], wf_backend_source(be));
    wf_arena_init(&state->scratch, wf_backend_source(be));
}

void wf_vae_state_clear(struct wf_vae_state *state)
{
    wf_arena_close(&state->hidden[0]);
    wf_arena_close(&state->hidden[1]);
    wf_arena_close(&state->scratch);
}

struct wf_vae_room wf_vae_room_used(const struct wf_vae_state *state)
{
    return (struct wf_vae_room){.hidden = {state->hidden[0].peak, state->hidden[1].peak},
                                .scratch = state->scratch.peak};
}

enum wf_status wf_vae_reserve(struct wf_vae_state *state, const struct wf_vae_room *room,
                              struct wf_error *err)
{
    if (wf_arena_reserve(&state->hidden[0], room->hidden[0]) &&
        wf_arena_reserve(&state->hidden[1], room->hidden[1]) &&
        wf_arena_reserve(&state->scratch, room->scratch))
        return WF_OK;
    return wf_fail_memory(err, "decode", room->hidden[0] + room->hidden[1] + room->scratch);
}

int64_t wf_vae_frames(const struct wf_vae *vae, int64_t latent_frames, bool first)
{
    return first ? 1 + (latent_frames - 1) * vae->geometry.temporal
                 : latent_frames * vae->geometry.temporal;
}
