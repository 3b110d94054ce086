#include "kernels/module.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/module.h"

enum { PATH_BYTES = 4096 };

/* The program or library that this function is in. Of a program the loader knows only the word that
   it was called by. */
static bool find_self(char path[PATH_BYTES])
{
    Dl_info info;
    struct link_map *object = NULL;
    if (!dladdr1((void *)(uintptr_t)&wf_module_cuda, &info, (void **)&object, RTLD_DL_LINKMAP))
        return false;
    if (object->l_name[0])
        return snprintf(path, PATH_BYTES, "%s", object->l_name) < PATH_BYTES;
    const ssize_t length = readlink("/proc/self/exe", path, PATH_BYTES - 1);
    path[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* Beside it, or where an installed one lies from there, wherever all of it was put. */
static bool find_near(char path[PATH_BYTES])
{
    static const char *const places[] = {"", WEFT_MODULES_FROM_PROGRAM "/", "weft/"};
    char self[PATH_BYTES];
    if (!find_self(self))
        return false;
    const char *slash = strrchr(self, '/');
    const int folder = slash ? (int)(slash - self) + 1 : 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const int used = snprintf(path, PATH_BYTES, "%.*s%sweft-cuda.so", folder, self, places[i]);
        if (used > 0 && used < PATH_BYTES && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

static bool find_module(char path[PATH_BYTES])
{
    const char *named = getenv("WEFT_CUDA_MODULE");
    if (named && named[0])
        return snprintf(path, PATH_BYTES, "%s", named) < PATH_BYTES;
    if (find_near(path))
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
