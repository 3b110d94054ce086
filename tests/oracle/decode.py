"""What diffusers makes of latents: whole, in chunks, in blended tiles; and the same a second way, to compare with."""
import copy
import functools
from types import SimpleNamespace

import torch
from diffusers import AutoencoderKLTemporalDecoder, AutoencoderKLWan, StableVideoDiffusionPipeline
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.video_processor import VideoProcessor


def is_svd(vae):
    return isinstance(vae, AutoencoderKLTemporalDecoder)


def scale_of(vae):
    """Pixels a latent."""
    return 2 ** (len(vae.config.block_out_channels) - 1) if is_svd(vae) else vae.config.scale_factor_spatial


def frames_of(video):
    """[1,3,T,H,W] as the decoder leaves it; [T,H,W,3] within 0..1 as the pipelines give it."""
    return VideoProcessor(vae_scale_factor=8).postprocess_video(video.float(), output_type="pt")[0].permute(0, 2, 3, 1).contiguous()


def run(vae, latents, chunk=0, overlap=0, tile=None, tile_overlap=None):
    """The frames. latents as `output_type="latent"` gives them; tile and tile_overlap (width, height) in pixels, tile None: no tiles;
    chunk 0: all."""
    if not is_svd(vae):
        return wan(vae, latents, tile, tile_overlap)
    if tile is None and overlap == 0:
        return svd_pipeline(vae, latents, chunk)
    return frames_of(svd(vae, latents, chunk, overlap, tile, tile_overlap))


# --- Wan: diffusers' own ---


def wan_input(vae, latents):
    def broadcast(values):
        return torch.tensor(values, dtype=latents.dtype).view(1, -1, 1, 1, 1)

    return latents / (1.0 / broadcast(vae.config.latents_std)) + broadcast(vae.config.latents_mean)    # as pipeline_wan.py writes it


def wan(vae, latents, tile, tile_overlap):
    vae.use_tiling = tile is not None
    if tile is not None:
        (width, height), (over_width, over_height) = tile, tile_overlap
        vae.enable_tiling(height, width, height - over_height, width - over_width)
    video = vae.decode(wan_input(vae, latents), return_dict=False)[0]
    vae.use_tiling = False
    return frames_of(video)


# --- Wan: all frames at once, in tiles that are blended here ---


def upsample_whole(resample, x, **_):
    """Frame 0 is not doubled, and no later one sees it."""
    first, rest = x[:, :, :1], x[:, :, 1:]
    if rest.shape[2]:
        both = resample.time_conv(rest).unflatten(1, (2, -1))                                   # [1,2,C,T-1,h,w]
        rest = both.movedim(1, 3).flatten(2, 3)
    return type(resample).forward(resample, torch.cat([first, rest], 2))                        # without a cache: the spatial half alone


def whole_decoder(vae):
    decoder = copy.deepcopy(vae.decoder)
    for module in decoder.modules():
        if getattr(module, "mode", None) == "upsample3d":
            module.forward = functools.partial(upsample_whole, module)
    return decoder


def wan_whole(vae, latents, tile=None, tile_overlap=None):
    """As wan(), without its caches and without its tiles."""
    decoder, patch = whole_decoder(vae), vae.config.patch_size or 1
    scale = scale_of(vae)

    def decode(z):
        return decoder(vae.post_quant_conv(z), first_chunk=True)

    video = tiled(decode, wan_input(vae, latents), scale, scale // patch, tile, tile_overlap)
    return frames_of(unpatchify(video, patch).clamp(-1, 1))


# --- Stable Video Diffusion ---


def svd_pipeline(vae, latents, chunk):
    """The pipeline's own chunks; the last one may be short."""
    frames = latents.shape[1]
    return frames_of(StableVideoDiffusionPipeline.decode_latents(SimpleNamespace(vae=vae), latents, frames, chunk or frames))


def chunk_ranges(frames, size, overlap):
    """First frame and how many. With an overlap a last chunk that would be short starts earlier."""
    ranges, first = [], 0
    while True:
        if overlap and first + size > frames:
            first = max(frames - size, 0)
        count = min(size, frames - first)
        ranges.append((first, count))
        if first + count == frames:
            return ranges
        first += size - overlap


def svd(vae, latents, chunk, overlap, tile, tile_overlap):
    """[1,3,T,H,W]. Tiles are blended within a chunk, then chunks, in their order, on the frames that were decoded before."""
    z, frames, done, video = 1 / vae.config.scaling_factor * latents[0], latents.shape[1], 0, []
    for first, count in chunk_ranges(frames, chunk or frames, overlap):
        part = tiled(lambda x: vae.decode(x, num_frames=len(x)).sample, z[first : first + count], scale_of(vae), scale_of(vae), tile,
                     tile_overlap)
        shared = done - first
        for j, new in enumerate(part):
            if j < shared:
                weight = (j + 0.5) / shared
                video[first + j] = video[first + j] * (1 - weight) + new * weight
            else:
                video.append(new)
        done = first + count
    return torch.stack(video, 1)[None]


def svd_tiled_by_wan(vae, latents, tile, tile_overlap):
    """diffusers tiles no SVD decoder: here its Wan code does, with frames in the place of a batch."""
    scale = scale_of(vae)
    (width, height), (over_width, over_height) = tile, tile_overlap
    stand_in = SimpleNamespace(
        use_tiling=True, spatial_compression_ratio=scale, config=SimpleNamespace(patch_size=None), clear_cache=lambda: None, _feat_map=None,
        post_quant_conv=lambda z: z, decoder=lambda z, **_: vae.decode(z[:, :, 0], num_frames=len(z)).sample[:, :, None],
        tile_sample_min_height=height, tile_sample_min_width=width, tile_sample_stride_height=height - over_height,
        tile_sample_stride_width=width - over_width)
    for name in "blend_v", "blend_h", "tiled_decode":
        setattr(stand_in, name, getattr(AutoencoderKLWan, name).__get__(stand_in))
    video = AutoencoderKLWan._decode(stand_in, 1 / vae.config.scaling_factor * latents[0][:, :, None]).sample
    return frames_of(video[:, :, 0].transpose(0, 1)[None])


# --- blended tiles ---


def blend(before, tile, extent, axis):
    """The first elements of tile along the axis fade in over the last ones of before, in place."""
    extent = min(before.shape[axis], tile.shape[axis], extent)
    shape = [1] * tile.dim()
    shape[axis] = extent
    weight = (torch.arange(extent, dtype=tile.dtype) / max(extent, 1)).view(shape)
    head = tile.narrow(axis, 0, extent)
    head.copy_(before.narrow(axis, before.shape[axis] - extent, extent) * (1 - weight) + head * weight)


def tiled(decode, z, scale, out_scale, tile, tile_overlap):
    """decode() on windows of the last two axes. Sizes in pixels, `scale` of them a latent; decode gives and blends `out_scale` a latent."""
    height, width = z.shape[-2:]
    if tile is None or (width * scale <= tile[0] and height * scale <= tile[1]):
        return decode(z)
    columns, rows = (size // scale for size in tile)
    over_columns, over_rows = (size // scale for size in tile_overlap)
    step_y, step_x = rows - over_rows, columns - over_columns
    out, above = [], None
    for top in range(0, height, step_y):
        row = []
        for left in range(0, width, step_x):
            part = decode(z[..., top : top + rows, left : left + columns]).clone()
            if above:
                blend(above[len(row)], part, over_rows * out_scale, -2)
            if row:
                blend(row[-1], part, over_columns * out_scale, -1)
            row.append(part)
        out.append(torch.cat([part[..., : step_y * out_scale, : step_x * out_scale] for part in row], -1))
        above = row
    return torch.cat(out, -2)[..., : height * out_scale, : width * out_scale]
