#include "kernels/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/module.h"

enum { PATH_BYTES = 4096 };

/* The file of that name in the folder of the program or library that this function is in. */
static bool find_beside(const char *name, char path[PATH_BYTES])
{
    Dl_info info;
    if (!dladdr((void *)(uintptr_t)&wf_module_cuda, &info) || !info.dli_fname)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    const int folder = slash ? (int)(slash - info.dli_fname) + 1 : 0;
    const int used = snprintf(path, PATH_BYTES, "%.*s%s", folder, info.dli_fname, name);
    return used > 0 && used < PATH_BYTES && access(path, R_OK) == 0;
}

static bool find_module(char path[PATH_BYTES])
{
    const char *named = getenv("WEFT_CUDA_MODULE");
    if (named && named[0])
        return snprintf(path, PATH_BYTES, "%s", named) < PATH_BYTES;
    if (find_beside("weft-cuda.so", path))
        return true;
    snprintf(path, PATH_BYTES, "%s", WEFT_MODULES "/weft-cuda.so");
    return access(path, R_OK) == 0;
}

static enum wf_status check(const char *path, const struct wf_cuda_module *m, struct wf_error *err)
{
    if (!m)
        return wf_fail(err, WF_REFUSED, "device: %s is no module of weft; use --device cpu", path);
    if (strcmp(m->version, WEFT_VERSION) != 0 || m->ops_bytes != sizeof(struct wf_ops) ||
        m->backend_bytes != sizeof(struct wf_backend) || m->param_bytes != sizeof(struct wf_param))
        return wf_fail(
            err, WF_REFUSED,
            "device: %s is of another build of weft (%s, this is %s); install both anew, "
            "or use --device cpu",
            path, m->version, WEFT_VERSION);
    return WF_OK;
}

enum wf_status wf_module_cuda(const struct wf_ops **ops, struct wf_error *err)
{
    char path[PATH_BYTES];
    if (!find_module(path))
        return wf_fail(err, WF_REFUSED,
                       "device: cuda needs weft-cuda.so beside the program, which a build with the "
                       "CUDA toolkit and cuDNN makes; use --device cpu");
    /* CUDA's libraries do not survive being unloaded. */
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!module)
        return wf_fail(err, WF_REFUSED, "device: cuda: %s; use --device cpu", dlerror());
    const struct wf_cuda_module *found = dlsym(module, WF_CUDA_MODULE);
    const enum wf_status status = check(path, found, err);
    if (status == WF_OK)
        *ops = found->ops;
    dlclose(module);
    return status;
}

bool wf_module_driver(const char *library)
{
    void *driver = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (driver)
        dlclose(driver);
    return driver != NULL;
}
