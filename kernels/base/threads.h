/* How many threads to compute with: what the process may use, and what OpenMP grants of it. */
#ifndef WEFT_KERNELS_BASE_THREADS_H
#define WEFT_KERNELS_BASE_THREADS_H

/* The first number of OMP_NUM_THREADS; without it the least of the cores that the affinity mask
   leaves, those that the container's quota pays for, and OMP_THREAD_LIMIT. At least 1. */
int wf_thread_default(void);

/* How many of `asked` threads a parallel region of the calling thread would have now: at most
   OpenMP's limit, and one where the caller is inside of a parallel region (of which it is one
   thread itself, and where oneDNN computes in one) or where it allows none. With dynamic threads
   switched on, a region may still get fewer. */
int wf_thread_granted(int asked);

#endif
