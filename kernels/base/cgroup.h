/* What the control groups of this process allow it: a container's quota. */
#ifndef WEFT_KERNELS_BASE_CGROUP_H
#define WEFT_KERNELS_BASE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

/* Calls `look` for the folder of each group that this process is in and that may limit
   `controller` ("cpu", "memory"): from its own up to the root of the mount, of version 2 and of
   version 1. A folder may be missing: a container sees its own group as the root of the mount, and
   its path may still be the host's. root: "", or where a test keeps its own proc and sys. */
typedef void (*wf_cgroup_look)(void *context, const char *folder, bool version_2);
void wf_cgroup_walk(const char *root, const char *controller, wf_cgroup_look look, void *context);

/* Bytes that this process may still take: the least of what the system has free (MemAvailable) and
   of what is left below the limits of these groups, file cache that can be dropped counted as free;
   SIZE_MAX where neither is known. */
size_t wf_memory_free(const char *root);
/* Cores that the least quota of these groups pays for, rounded up, at least one; INT_MAX without a
 * quota. */
int wf_cgroup_cores(const char *root);

#endif
