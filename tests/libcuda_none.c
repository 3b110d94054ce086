/* A libcuda for machines without a GPU: cuDNN's engines that are compiled at run time look for one
   before they compile for a device that is only described. Its functions have to exist; the first
   that is called says that there is no device (100). */
int cuInit(unsigned flags);
int cuDriverGetVersion(int *version);
int cuDeviceGetCount(int *count);
int cuGetErrorName(int error, const char **text);
int cuGetErrorString(int error, const char **text);

enum { NO_DEVICE = 100 };

int cuInit(unsigned flags)
{
    (void)flags;
    return NO_DEVICE;
}

int cuDriverGetVersion(int *version)
{
    *version = 13000;
    return 0;
}

int cuDeviceGetCount(int *count)
{
    *count = 0;
    return NO_DEVICE;
}

int cuGetErrorName(int error, const char **text)
{
    (void)error;
    *text = "CUDA_ERROR_NO_DEVICE";
    return 0;
}

int cuGetErrorString(int error, const char **text)
{
    (void)error;
    *text = "no GPU: libcuda of weft's tests";
    return 0;
}

#define NOT_HERE(name)                                                                             \
    int name(void);                                                                                \
    int name(void)                                                                                 \
    {                                                                                              \
        return NO_DEVICE;                                                                          \
    }
NOT_HERE(cuCtxGetCurrent)
NOT_HERE(cuCtxGetLimit)
NOT_HERE(cuCtxPopCurrent)
NOT_HERE(cuCtxPushCurrent)
NOT_HERE(cuDeviceGet)
NOT_HERE(cuKernelGetAttribute)
NOT_HERE(cuKernelGetFunction)
NOT_HERE(cuKernelSetAttribute)
NOT_HERE(cuLaunchCooperativeKernel)
NOT_HERE(cuLaunchKernel)
NOT_HERE(cuLaunchKernelEx)
NOT_HERE(cuLibraryGetKernel)
NOT_HERE(cuLibraryLoadData)
NOT_HERE(cuLibraryLoadFromFile)
NOT_HERE(cuLibraryUnload)
NOT_HERE(cuLinkAddData)
NOT_HERE(cuLinkComplete)
NOT_HERE(cuLinkCreate)
NOT_HERE(cuLinkDestroy)
NOT_HERE(cuOccupancyMaxPotentialClusterSize)
NOT_HERE(cuStreamGetCtx)
