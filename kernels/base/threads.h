/* How many threads to compute with. */
#ifndef WEFT_KERNELS_BASE_THREADS_H
#define WEFT_KERNELS_BASE_THREADS_H

/* Cores that this process may run on (its affinity mask); at least 1. */
int wf_thread_cores(void);

#endif
