#include "vae/vae.h"

#include <stdio.h>
#include <string.h>

static const struct wf_vae_driver *const drivers[] = {&wf_vae_wan, &wf_vae_svd};

enum { DRIVERS = sizeof drivers / sizeof *drivers };

void wf_vae_names(char *out, size_t bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < DRIVERS && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", used ? ", " : "",
                                 drivers[i]->class_name);
}

enum wf_status wf_vae_open(struct wf_residency *res, struct wf_mem *mem, struct wf_vae **vae,
                           struct wf_error *err)
{
    *vae = NULL;
    const struct wf_json *config = wf_checkpoint_config(wf_residency_checkpoint(res));
    const char *name = NULL;
    char known[256];
    WF_TRY(wf_json_require(config, "_class_name", err));
    WF_TRY(wf_json_string(config, "_class_name", &name, err));
    for (int i = 0; i < DRIVERS; i++) {
        if (strcmp(drivers[i]->class_name, name) == 0)
            return drivers[i]->open(res, mem, vae, err);
    }
    wf_vae_names(known, sizeof known);
    return wf_fail(err, WF_REFUSED, "%s: VAE %s is not known; weft knows %s", config->path, name,
                   known);
}

void wf_vae_close(struct wf_vae **vae)
{
    if (*vae)
        (*vae)->driver->close(*vae);
    *vae = NULL;
}

enum wf_status wf_vae_add_stage(struct wf_vae *vae, struct wf_vae_stage stage, int *index,
                                struct wf_error *err)
{
    if (vae->stage_count == WF_VAE_STAGES)
        return wf_fail(err, WF_REFUSED,
                       "vae: its configuration asks for more than %d stages, which weft does not "
                       "do; use another model",
                       WF_VAE_STAGES);
    *index = vae->stage_count++;
    vae->stages[*index] = stage;
    return wf_residency_group(vae->res, &vae->stages[*index].group, err);
}

int64_t wf_vae_frames(const struct wf_vae *vae, int64_t latent_frames, bool first)
{
    const int64_t frames = latent_frames * vae->geometry.temporal;
    return first && vae->geometry.causal ? frames - (vae->geometry.temporal - 1) : frames;
}
