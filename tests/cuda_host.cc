/* A device of fibers: see cuda_host.h. */
#include "tests/cuda_host.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

__thread struct uint3 threadIdx, blockIdx, blockDim;

namespace
{

enum { WARP = 32, MOST = 1024, STACK = 1 << 16, SHARED = 48 << 10, APART = 64 };

/* A place where one thread of control was left. */
struct context {
#if defined(__x86_64__)
    void *top; /* of its stack, on which its registers are */
#else
    ucontext_t registers;
#endif
    const char *stack;
    size_t bytes;
};

struct barrier {
    unsigned arrived, passed;
};

struct shared_piece {
    const void *key;
    size_t at;
};

/* What one thread of the host runs kernels on; its stacks are taken once. */
struct device {
    struct context host, fiber[MOST];
    bool left[MOST], left_warp[MOST / WARP]; /* a thread, one of a warp */
    int current, threads, running, idle;
    bool upwards, in_block;
    void (*run)(const void *context);
    const void *context;
    struct barrier block, warp[MOST / WARP];
    float exchange[MOST][2]; /* a thread may be at the next shuffle while others read this one's */
    unsigned shuffles[MOST];
    std::vector<struct shared_piece> pieces;
    unsigned char *shared;
    size_t used;
    char *stacks;

    ~device()
    {
        if (stacks)
            munmap(stacks, size_t{MOST} * STACK);
        free(shared);
    }
};

thread_local struct device dev;

[[noreturn]] void stop(const char *what)
{
    fprintf(stderr, "cuda_host: block %u, thread %d: %s\n", blockIdx.x, dev.current, what);
    abort();
}

#if defined(__x86_64__)
/* Leaves one stack for another, with what a called function keeps. */
extern "C" void cuda_host_switch(void **left, void *entered);
asm(R"(
.text
.type cuda_host_switch, @function
cuda_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_host_switch, . - cuda_host_switch
)");
#endif

void go(struct context &from, struct context &to)
{
#if defined(__SANITIZE_ADDRESS__)
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, to.stack, to.bytes);
#endif
#if defined(__x86_64__)
    cuda_host_switch(&from.top, to.top);
#else
    swapcontext(&from.registers, &to.registers);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

/* Lets the next thread that has not left the block go on. */
void yield()
{
    const int me = dev.current, step = dev.upwards ? 1 : dev.threads - 1;
    int next = me;
    do
        next = (next + step) % dev.threads;
    while (dev.left[next] && next != me);
    if (next == me)
        return;
    dev.current = next;
    threadIdx.x = static_cast<unsigned>(next);
    go(dev.fiber[me], dev.fiber[next]);
}

/* Waits for all `threads` of a block or warp. */
void wait(struct barrier &b, int threads)
{
    const unsigned passed = b.passed;
    dev.idle = 0;
    if (++b.arrived == static_cast<unsigned>(threads)) {
        b.arrived = 0;
        b.passed++;
        return;
    }
    while (b.passed == passed) {
        if (++dev.idle > 2 * dev.threads)
            stop("waits at a barrier that others do not come to");
        yield();
    }
}

/* One fiber, block after block. */
void live()
{
#if defined(__SANITIZE_ADDRESS__)
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
    if (!dev.host.stack) { /* the first of all: it was the host that was left */
        dev.host.stack = static_cast<const char *>(stack);
        dev.host.bytes = bytes;
    }
#endif
    for (;;) {
        dev.run(dev.context);
        if (dev.block.arrived || dev.warp[dev.current / WARP].arrived)
            stop("leaves while others wait for it");
        dev.left[dev.current] = dev.left_warp[dev.current / WARP] = true;
        if (--dev.running > 0)
            yield();
        else
            go(dev.fiber[dev.current], dev.host);
    }
}

void make_fiber(struct context &c, char *stack)
{
    c.stack = stack;
    c.bytes = STACK;
#if defined(__x86_64__)
    /* What cuda_host_switch takes from the stack: six registers and where to go on; then a return
       address, so that the stack is aligned as after a call. */
    void **top = reinterpret_cast<void **>(stack + STACK) - 8;
    memset(top, 0, 8 * sizeof *top);
    top[6] = reinterpret_cast<void *>(live);
    c.top = top;
#else
    getcontext(&c.registers);
    c.registers.uc_stack.ss_sp = stack;
    c.registers.uc_stack.ss_size = STACK;
    makecontext(&c.registers, live, 0);
#endif
}

void open_device()
{
    if (dev.stacks)
        return;
    void *stacks = mmap(nullptr, size_t{MOST} * STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    dev.shared = static_cast<unsigned char *>(aligned_alloc(APART, SHARED));
    if (stacks == MAP_FAILED || !dev.shared)
        stop("no memory for a device");
    dev.stacks = static_cast<char *>(stacks);
    for (int i = 0; i < MOST; i++)
        make_fiber(dev.fiber[i], dev.stacks + size_t{STACK} * static_cast<size_t>(i));
}

/* Forgets what the last block shared. */
void clear_shared()
{
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(dev.shared, SHARED);
#endif
    memset(dev.shared, 0xff, dev.used);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(dev.shared, SHARED);
#endif
    dev.used = 0;
    dev.pieces.clear();
}

void run_block()
{
    clear_shared();
    memset(dev.left, 0, sizeof dev.left);
    memset(dev.left_warp, 0, sizeof dev.left_warp);
    memset(dev.shuffles, 0, sizeof dev.shuffles);
    dev.running = dev.threads;
    dev.upwards = blockIdx.x % 2 == 0;
    dev.current = dev.upwards ? 0 : dev.threads - 1;
    threadIdx.x = static_cast<unsigned>(dev.current);
    go(dev.host, dev.fiber[dev.current]);
}

} // namespace

void __syncthreads()
{
    if (!dev.in_block)
        stop("a barrier in a launch without any");
    if (dev.running < dev.threads)
        stop("waits for one that left");
    wait(dev.block, dev.threads);
}

float __shfl_xor_sync(unsigned lanes, float value, int other)
{
    if (!dev.in_block || lanes != 0xffffffffu)
        stop("a shuffle of less than a warp, or in a launch without any");
    const int me = dev.current, warp = me / WARP;
    if (dev.left_warp[warp])
        stop("shuffles with one that left");
    const unsigned turn = dev.shuffles[me]++ % 2;
    dev.exchange[me][turn] = value;
    wait(dev.warp[warp], WARP);
    return dev.exchange[warp * WARP + ((me % WARP) ^ other)][turn];
}

void *cuda_host::shared(const void *key, size_t bytes)
{
    for (const struct shared_piece &piece : dev.pieces) {
        if (piece.key == key)
            return dev.shared + piece.at;
    }
    const size_t at = dev.used, room = (bytes + APART - 1) / APART * APART + APART;
    if (!dev.in_block || at + bytes > SHARED)
        stop("too much shared memory, or in a launch without any");
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(dev.shared + at, bytes);
#endif
    memset(dev.shared + at, 0xff, bytes);
    dev.pieces.push_back({key, at});
    dev.used = at + room < SHARED ? at + room : static_cast<size_t>(SHARED);
    return dev.shared + at;
}

void cuda_host::launch(unsigned blocks, unsigned threads, bool apart,
                       void (*run)(const void *context), const void *context)
{
    if (blocks == 0 || threads == 0 || threads > MOST || threads % WARP)
        stop("a launch of no blocks, or not of whole warps");
    open_device();
    blockDim = {threads, 1, 1};
    threadIdx = blockIdx = {0, 0, 0};
    dev.run = run;
    dev.context = context;
    dev.threads = static_cast<int>(threads);
    dev.in_block = !apart;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        if (!apart)
            run_block();
        for (threadIdx.x = 0; apart && threadIdx.x < threads; threadIdx.x++)
            run(context);
    }
}
