/* kernels/base/cgroup.c: the input's parts, between NULs, are what the system says. */
#include <limits.h>
#include <string.h>

#include "kernels/base/cgroup.h"
#include "tests/fuzz/fuzz.h"

static void look(void *context, const char *folder, bool version_2)
{
    (void)version_2;
    const char *root = context;
    FUZZ_CHECK(strncmp(folder, root, strlen(root)) == 0);
    FUZZ_CHECK(strncmp(folder + strlen(root), "/sys/fs/cgroup", 14) == 0);
}

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    static const char *const folders[] = {"proc",
                                          "proc/self",
                                          "sys",
                                          "sys/fs",
                                          "sys/fs/cgroup",
                                          "sys/fs/cgroup/a",
                                          "sys/fs/cgroup/cpu",
                                          "sys/fs/cgroup/memory"};
    static const char *const files[] = {"proc/meminfo",
                                        "proc/self/cgroup",
                                        "sys/fs/cgroup/a/cpu.max",
                                        "sys/fs/cgroup/memory.max",
                                        "sys/fs/cgroup/memory.current",
                                        "sys/fs/cgroup/memory.stat",
                                        "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                                        "sys/fs/cgroup/cpu/cpu.cfs_period_us",
                                        "sys/fs/cgroup/memory/memory.limit_in_bytes",
                                        "sys/fs/cgroup/memory/memory.usage_in_bytes"};
    if (f->starved) /* it allocates nothing */
        return WF_OK;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        fuzz_folder(folders[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        fuzz_write_part(files[i], data, size, (int)i);
    char root[512];
    strcpy(root, fuzz_path(""));
    root[strlen(root) - 1] = '\0';
    wf_cgroup_walk(root, "memory", look, root);
    FUZZ_CHECK(wf_cgroup_cores(root) >= 1);
    (void)wf_memory_free(root);
    return WF_OK;
}
