"""What the card reaches at best, by PyTorch: the rates that weft's are held against."""
import torch

torch.manual_seed(0)
torch.set_grad_enabled(False)


def seconds(work, least=0.3):
    """Of one call, the mean over at least that many seconds."""
    for _ in range(2):
        work()
    begin, end, count = torch.cuda.Event(True), torch.cuda.Event(True), 1
    while True:
        begin.record()
        for _ in range(count):
            work()
        end.record()
        torch.cuda.synchronize()
        took = begin.elapsed_time(end) / 1e3
        if took > least:
            return took / count
        count = max(count + 1, int(1.1 * count * least / max(took, 1e-4)))


def main():
    card = torch.cuda.get_device_properties(0)
    print(f"{card.name}, {card.total_memory / 2**30:.1f} GiB, {card.multi_processor_count} SMs, CUDA {torch.version.cuda}, "
          f"cuDNN {torch.backends.cudnn.version()}, torch {torch.__version__}")
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    print(f"gemm {n}^3 bf16: {2 * n**3 / seconds(lambda: a @ b) / 1e12:.0f} TFLOP/s")
    x = torch.randn(1 << 29, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    print(f"copy on the device: {4 * x.numel() / seconds(lambda: y.copy_(x)) / 1e12:.2f} TB/s read and written")
    host, device = torch.empty(1 << 28, dtype=torch.uint8, pin_memory=True), torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    print(f"host to device, pinned: {device.numel() / seconds(lambda: device.copy_(host, non_blocking=True)) / 1e9:.1f} GB/s")
    print(f"device to host, pinned: {device.numel() / seconds(lambda: host.copy_(device, non_blocking=True)) / 1e9:.1f} GB/s")


if __name__ == "__main__":
    main()
