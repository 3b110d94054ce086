#include "kernels/base/cgroup.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 4096, LINE = 4096 };

/* Whether a list such as "cpu,cpuacct" has the name. */
static bool lists(const char *list, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ','), at = at ? at + 1 : NULL) {
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0))
            return true;
    }
    return false;
}

/* `mount` with group below it, then with each of the groups that hold that one, at last alone. */
static void walk_up(const char *mount, const char *group, bool version_2, wf_cgroup_look look,
                    void *context)
{
    char folder[PATH];
    const size_t root = strlen(mount);
    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder)
        return;
    for (char *end = folder + strlen(folder); end >= folder + root; end--) {
        if (*end != '/' && *end != 0)
            continue;
        *end = 0;
        look(context, folder, version_2);
    }
}

/* A line "4:cpu,cpuacct:/group" of version 1, or "0::/group" of version 2, whose tree has every
   controller; beside a version 1 it is mounted as "unified". */
static void walk_line(const char *root, const char *controller, char *line, wf_cgroup_look look,
                      void *context)
{
    char mount[PATH];
    char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
    if (!group)
        return;
    *group++ = 0;
    list++;
    group[strcspn(group, "\n")] = 0;
    if (*list == 0) {
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        walk_up(mount, group, true, look, context);
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/unified", root);
        walk_up(mount, group, true, look, context);
    } else if (lists(list, controller)) {
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, controller);
        walk_up(mount, group, false, look, context);
    }
}

void wf_cgroup_walk(const char *root, const char *controller, wf_cgroup_look look, void *context)
{
    char path[PATH], line[LINE];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file))
        walk_line(root, controller, line, look, context);
    fclose(file);
}

/* The numbers of a file's first line; how many there are. */
static int read_numbers(const char *folder, const char *name, double number[2])
{
    char path[PATH], line[128] = "", *rest = line;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    const bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    int count = 0;
    for (char *end; read && count < 2; rest = end) {
        number[count] = strtod(rest, &end);
        if (end == rest)
            break;
        count++;
    }
    return count;
}

/* cpu.max is "QUOTA PERIOD", or "max PERIOD" for no quota; cfs_quota_us is -1 then. */
static void look_at_quota(void *context, const char *folder, bool version_2)
{
    int *cores = context;
    double number[2], period[2];
    if (version_2) {
        if (read_numbers(folder, "cpu.max", number) != 2)
            return;
    } else {
        if (read_numbers(folder, "cpu.cfs_quota_us", number) < 1 ||
            read_numbers(folder, "cpu.cfs_period_us", period) < 1)
            return;
        number[1] = period[0];
    }
    if (!(number[0] > 0 && number[1] > 0) || number[0] / number[1] >= *cores)
        return;
    *cores = (int)fmax(ceil(number[0] / number[1]), 1);
}

int wf_cgroup_cores(const char *root)
{
    int cores = INT_MAX;
    wf_cgroup_walk(root, "cpu", look_at_quota, &cores);
    return cores;
}

/* The number behind a key of a file of lines "key number" or "key: number kB"; -1: not there. */
static double read_key(const char *folder, const char *name, const char *key)
{
    char path[PATH], line[256];
    double found = -1;
    const size_t length = strlen(key);
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return found;
    FILE *file = fopen(path, "re");
    while (file && found < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) == 0 && (line[length] == ' ' || line[length] == ':'))
            found = strtod(line + length + 1, NULL);
    }
    if (file)
        fclose(file);
    return found;
}

/* memory.max is "max" without a limit, limit_in_bytes a number beyond all memory. */
static void look_at_memory(void *context, const char *folder, bool version_2)
{
    double *least = context, limit[2], used[2];
    const char *stat = "memory.stat";
    if (read_numbers(folder, version_2 ? "memory.max" : "memory.limit_in_bytes", limit) < 1 ||
        read_numbers(folder, version_2 ? "memory.current" : "memory.usage_in_bytes", used) < 1)
        return;
    /* Of the file cache, what lies in memory only cannot be dropped. */
    const double cache = read_key(folder, stat, version_2 ? "file" : "total_cache");
    const double kept = read_key(folder, stat, version_2 ? "shmem" : "total_shmem");
    const double drops = cache - (kept > 0 ? kept : 0);
    const double left = limit[0] - used[0] + (drops > 0 ? drops : 0);
    if (left < *least)
        *least = left > 0 ? left : 0;
}

static size_t bytes_of(double bytes)
{
    return bytes < (double)(SIZE_MAX >> 1) ? (size_t)bytes : SIZE_MAX;
}

size_t wf_memory_free(const char *root)
{
    char folder[PATH];
    snprintf(folder, sizeof folder, "%s/proc", root);
    const double kilobytes = read_key(folder, "meminfo", "MemAvailable");
    const size_t system = kilobytes >= 0 ? bytes_of(kilobytes * 1024) : SIZE_MAX;
    double groups = INFINITY;
    wf_cgroup_walk(root, "memory", look_at_memory, &groups);
    return system < bytes_of(groups) ? system : bytes_of(groups);
}
