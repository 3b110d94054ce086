/* The time that passes. */
#ifndef WEFT_KERNELS_BASE_CLOCK_H
#define WEFT_KERNELS_BASE_CLOCK_H

double wf_clock(void); /* seconds that only go forward */

#endif
