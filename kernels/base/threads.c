#include "kernels/base/threads.h"

#include <omp.h>
#include <stdlib.h>

#include "kernels/base/cgroup.h"

enum { MOST = 4096 }; /* as many as may be asked for */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* "4" or "4,2,1", a number for each level of nesting; 0 where it is not one. */
static int first_of_list(const char *list)
{
    char *end;
    const long first = list ? strtol(list, &end, 10) : 0;
    if (first < 1)
        return 0;
    return first < MOST ? (int)first : MOST;
}

/* The cores are those that OpenMP found before it bound the first thread to one of them. */
int wf_thread_default(void)
{
    const int wanted = first_of_list(getenv("OMP_NUM_THREADS"));
    if (wanted)
        return wanted;
    const int cores = least(omp_get_num_procs(), wf_cgroup_cores(""));
    return least(least(cores, omp_get_thread_limit()), MOST);
}

int wf_thread_granted(int asked)
{
    if (omp_in_parallel() || omp_get_max_active_levels() < 1)
        return 1;
    return least(asked, omp_get_thread_limit());
}
