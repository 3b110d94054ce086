/* That the device on the host (cuda_host.h) would notice: a barrier that is missing, one that not
   all come to, one where none may be. */
#include <csignal>
#include <cstdio>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/cuda/own/row.h"

namespace
{

enum { BLOCK = 64, BLOCKS = 2 };

struct args {
    float *y;
};

struct slots {
    float of_thread[BLOCK];
};

/* Each thread hands a number to another one. */
template <bool WAITS, int OTHER> __global__ void hand_over(struct args a)
{
    WF_SHARED(struct slots, slots);
    slots.of_thread[threadIdx.x] = 1.0f;
    if (WAITS)
        __syncthreads();
    a.y[wf_thread()] = slots.of_thread[threadIdx.x ^ OTHER];
}

__global__ void leave_a_barrier(struct args a)
{
    if (threadIdx.x == 40)
        return;
    __syncthreads();
    a.y[wf_thread()] = 0.0f;
}

__global__ void leave_a_shuffle(struct args a)
{
    if (threadIdx.x == 3)
        return;
    a.y[wf_thread()] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}

__global__ void meet_at_two_places(struct args a)
{
    if (threadIdx.x < WF_WARP)
        __syncthreads();
    else
        a.y[wf_thread()] = wf_reduce_lanes<WF_WARP>(1.0f, wf_sum());
}

__global__ void shuffle_one_lane(struct args a)
{
    if (threadIdx.x % WF_WARP == 0)
        a.y[wf_thread()] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    __syncthreads();
}

float y[BLOCK * BLOCKS];

/* Results that are no numbers, of each block. */
bool shows(void (*kernel)(struct args), bool expected)
{
    wf_launch(kernel, BLOCKS, BLOCK, nullptr, args{y});
    for (int block = 0; block < BLOCKS; block++) {
        bool found = false;
        for (int i = 0; i < BLOCK; i++)
            found = found || std::isnan(y[block * BLOCK + i]);
        if (found != expected)
            return false;
    }
    return true;
}

/* Whether the launch ends the program. */
bool stops(void (*kernel)(struct args), bool apart)
{
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        apart ? wf_launch_apart(kernel, BLOCKS, BLOCK, nullptr, args{y})
              : wf_launch(kernel, BLOCKS, BLOCK, nullptr, args{y});
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

} // namespace

int main()
{
    const struct {
        const char *what;
        bool passed;
    } checks[] = {
        {"a barrier", shows(hand_over<true, 1>, false)},
        {"a barrier that is missing", shows(hand_over<false, 1>, true)},
        {"one between warps", shows(hand_over<false, WF_WARP>, true)},
        {"leaving before a barrier", stops(leave_a_barrier, false)},
        {"leaving before a shuffle", stops(leave_a_shuffle, false)},
        {"a barrier of some warps", stops(meet_at_two_places, false)},
        {"a shuffle of some lanes", stops(shuffle_one_lane, false)},
        {"a barrier in a launch without any", stops(hand_over<true, 1>, true)},
    };
    int failed = 0;
    for (const auto &check : checks) {
        printf("  [%s] %s\n", check.passed ? " OK " : "FAIL", check.what);
        failed += !check.passed;
    }
    return failed != 0;
}
