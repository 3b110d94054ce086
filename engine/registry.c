#include <stdio.h>
#include <string.h>

#include "engine/models/family.h"

static const struct wf_family *const families[] = {&wf_family_wan, &wf_family_svd};

enum { FAMILIES = sizeof families / sizeof *families };

const struct wf_family *wf_family_find(const char *pipeline)
{
    for (int i = 0; i < FAMILIES; i++) {
        for (const char *const *name = families[i]->pipelines; *name; name++) {
            if (strcmp(*name, pipeline) == 0)
                return families[i];
        }
    }
    return NULL;
}

const struct wf_family *wf_family_find_vae(const char *class_name)
{
    for (int i = 0; i < FAMILIES; i++) {
        if (strcmp(families[i]->vae_class, class_name) == 0)
            return families[i];
    }
    return NULL;
}

void wf_family_names(char *out, size_t bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < FAMILIES; i++) {
        for (const char *const *name = families[i]->pipelines; *name && used < bytes; name++)
            used += (size_t)snprintf(out + used, bytes - used, "%s%s", used ? ", " : "", *name);
    }
}
