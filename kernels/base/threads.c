#include "kernels/base/threads.h"

#include <sched.h>
#include <unistd.h>

int wf_thread_cores(void)
{
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        return CPU_COUNT(&mask) > 0 ? CPU_COUNT(&mask) : 1;
    const long online = sysconf(_SC_NPROCESSORS_ONLN); /* more cores than a cpu_set_t holds */
    return online > 0 && online < 1 << 16 ? (int)online : 1;
}
