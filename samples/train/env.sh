# Before training on a CPU:  . ./env.sh
# glibc: keep big blocks instead of one mmap and munmap a tensor (encoding gets 4 times faster)
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456
# sleep at OpenMP's barriers instead of spinning, as other programs may share the cores
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
