# SPDX-License-Identifier: Apache-2.0
"""Tiny Wan 2.1 models and forward passes that train fast on a CPU: the maths and the weights of diffusers' classes, with
the VAE's clip in one piece instead of its chunks, and the 512 - n zero rows of the text as one row with a logit bias.

usage: fastwan.py    compares them with diffusers
"""
import math

import torch
import torch.nn.functional as F
from torch import nn
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample

BF = torch.bfloat16


# ---- VAE

def make_vae():
    """A new VAE. Its values start close to a 2-D model's: default ones train five times slower."""
    vae = AutoencoderKLWan(base_dim=16, z_dim=16, dim_mult=[1, 2, 2, 4], num_res_blocks=1,
                           temperal_downsample=[False, True, True], latents_mean=[0.0] * 16, latents_std=[1.0] * 16)
    for n, m in vae.named_modules():
        if isinstance(m, (nn.Conv3d, nn.Conv2d)):
            w = m.weight.data
            w.normal_(0, (w[0, :, 0].numel() if w.ndim == 5 else w[0].numel()) ** -0.5)
            if w.ndim == 5 and w.shape[2] > 1:
                w[:, :, :-1] *= 0.15                       # older frames
            if n.endswith("conv2"):
                w.mul_(0.4)
            if "to_qkv" in n or n.endswith("proj"):
                w.mul_(0.3)
            m.bias.data.zero_()
        if isinstance(m, WanResample) and hasattr(m, "time_conv"):
            w = m.time_conv.weight.data
            e = torch.eye(w.shape[1])
            w.mul_(0.3)
            if m.mode == "upsample3d":
                w[:, :, 2, 0, 0] += torch.cat([e, e])
            else:
                w[:, :, 1, 0, 0] += 0.5 * e
                w[:, :, 2, 0, 0] += 0.5 * e
    vae.quant_conv.weight.data[16:] *= 0.02
    vae.quant_conv.bias.data[16:] = -5.0                   # log variance
    vae.decoder.conv_out.weight.data.mul_(0.3)
    vae.decoder.conv_out.bias.data.fill_(-0.8)
    return vae


def norm(m, x):
    f = x.float()
    return (f * torch.rsqrt(f.square().sum(1, keepdim=True).clamp_min(1e-24)) * (m.scale * m.gamma)).to(x.dtype)


def conv(m, x):
    pt, ph, pw = m._padding[4], m._padding[2], m._padding[0]
    if pt:
        x = F.pad(x, (0, 0, 0, 0, pt, 0))
    return F.conv3d(x, m.weight, m.bias, m.stride, (0, ph, pw))


def res(m, x):
    h = x if isinstance(m.conv_shortcut, nn.Identity) else conv(m.conv_shortcut, x)
    x = conv(m.conv1, F.silu(norm(m.norm1, x)))
    return conv(m.conv2, F.silu(norm(m.norm2, x))) + h


def by_frame(f, x):
    b, c, t, h, w = x.shape
    x = f(x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w))
    return x.view(b, t, *x.shape[1:]).permute(0, 2, 1, 3, 4)


def attention(m, x):
    def f(y):
        n, c, h, w = y.shape
        q, k, v = m.to_qkv(norm(m.norm, y)).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        return m.proj(F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(n, c, h, w))
    return by_frame(f, x) + x


def middle(m, x):
    return res(m.resnets[1], attention(m.attentions[0], res(m.resnets[0], x)))


def down(m, x):
    c = m.resample[1]
    x = by_frame(lambda y: F.conv2d(F.pad(y, (0, 1, 0, 1)), c.weight, c.bias, 2), x)
    if m.mode == "downsample3d" and x.shape[2] > 1:
        t = m.time_conv
        x = torch.cat([x[:, :, :1], F.conv3d(x, t.weight, t.bias, t.stride)], 2)
    return x


def up(m, x):
    if m.mode == "upsample3d" and x.shape[2] > 1:
        y = conv(m.time_conv, x[:, :, 1:])
        b, c, t, h, w = y.shape
        y = y.reshape(b, 2, c // 2, t, h, w).permute(0, 2, 3, 1, 4, 5).reshape(b, c // 2, 2 * t, h, w)
        x = torch.cat([x[:, :, :1], y], 2)
    c = m.resample[1]
    return by_frame(lambda y: F.conv2d(F.interpolate(y, scale_factor=2.0, mode="nearest"), c.weight, c.bias, padding=1), x)


def encode(vae, x):
    """Mean and log variance, 32 channels, not normalised."""
    e = vae.encoder
    x = conv(e.conv_in, x.contiguous(memory_format=torch.channels_last_3d))
    for b in e.down_blocks:
        x = down(b, x) if hasattr(b, "resample") else res(b, x)
    return conv(vae.quant_conv, conv(e.conv_out, F.silu(norm(e.norm_out, middle(e.mid_block, x)))))


def decode(vae, z):
    d = vae.decoder
    x = middle(d.mid_block, conv(d.conv_in, conv(vae.post_quant_conv, z)))
    for b in d.up_blocks:
        for r in b.resnets:
            x = res(r, x)
        if b.upsamplers is not None:
            x = up(b.upsamplers[0], x)
    return conv(d.conv_out, F.silu(norm(d.norm_out, x)))


# ---- transformer

def make_dit():
    m = WanTransformer3DModel(patch_size=(1, 2, 2), num_attention_heads=6, attention_head_dim=32, in_channels=16,
                              out_channels=16, text_dim=64, freq_dim=64, ffn_dim=576, num_layers=6, cross_attn_norm=True,
                              qk_norm="rms_norm_across_heads", eps=1e-6, rope_max_seq_len=64)
    nn.init.zeros_(m.proj_out.weight)
    nn.init.zeros_(m.proj_out.bias)
    for b in m.blocks:
        for a in (b.attn1, b.attn2):
            for l in (a.to_q, a.to_k, a.to_v, a.to_out[0]):
                nn.init.xavier_uniform_(l.weight)
                nn.init.zeros_(l.bias)
        nn.init.constant_(b.attn2.norm_q.weight, 1.5)
        nn.init.constant_(b.attn2.norm_k.weight, 1.5)
        nn.init.normal_(b.attn2.to_k.bias, std=0.2)
        b.scale_shift_table.data.mul_(0.3)
        b.scale_shift_table.data[:, 2::3] += 0.3           # the gates start open
    m.scale_shift_table.data.mul_(0.3)
    nn.init.normal_(m.condition_embedder.time_proj.weight, std=0.02)
    nn.init.zeros_(m.condition_embedder.time_proj.bias)
    return m


def ln(x):
    return F.layer_norm(x.float(), x.shape[-1:], eps=1e-6)


def rms(m, x):
    f = x.float()
    return f * torch.rsqrt(f.square().mean(-1, keepdim=True) + m.eps) * m.weight


def rope(x, c, s):
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)


def block(b, x, e, txt, bias, c, s):
    """x [B, N, D] in fp32, e [B, 6, D], txt [B, L, D], bias [B, 1, 1, L]."""
    sm, sc, g, csm, csc, cg = (b.scale_shift_table + e).chunk(6, 1)
    a, h = b.attn1, b.attn1.heads
    y = (ln(x) * (1 + sc) + sm).to(BF)
    q = rope(rms(a.norm_q, a.to_q(y)).unflatten(2, (h, -1)), c, s).to(BF).transpose(1, 2)
    k = rope(rms(a.norm_k, a.to_k(y)).unflatten(2, (h, -1)), c, s).to(BF).transpose(1, 2)
    v = a.to_v(y).unflatten(2, (h, -1)).transpose(1, 2)
    x = x + a.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).float() * g
    a = b.attn2
    y = (ln(x) * b.norm2.weight + b.norm2.bias).to(BF)
    q = rms(a.norm_q, a.to_q(y)).to(BF).unflatten(2, (h, -1)).transpose(1, 2)
    k = rms(a.norm_k, a.to_k(txt)).to(BF).unflatten(2, (h, -1)).transpose(1, 2)
    v = a.to_v(txt).unflatten(2, (h, -1)).transpose(1, 2)
    w = torch.softmax((q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5 + bias, -1).to(BF)
    x = x + a.to_out[0]((w @ v).transpose(1, 2).flatten(2)).float()
    y = (ln(x) * (1 + csc) + csm).to(BF)
    return x + b.ffn.net[2](F.gelu(b.ffn.net[0].proj(y), approximate="tanh")).float() * cg


run_block = block                                          # the trainer puts a compiled one here


def dit(m, x, t, txt, bias):
    """x [B, 16, T, H, W], t [B] in 0..1000, txt [B, L, text_dim] with zeros after the real rows, bias of text_bias."""
    B, C, T, H, W = x.shape
    with torch.autocast("cpu", dtype=BF):
        fc, fs = m.rope(x)
        c, s = fc[..., 0::2].float(), fs[..., 1::2].float()
        p = x.view(B, C, T, H // 2, 2, W // 2, 2).permute(0, 2, 3, 5, 1, 4, 6).reshape(B, T * H * W // 4, C * 4)
        h = F.linear(p, m.patch_embedding.weight.flatten(1), m.patch_embedding.bias).float()
        ce = m.condition_embedder
        temb = ce.time_embedder(ce.timesteps_proj(t)).float()
        e = ce.time_proj(F.silu(temb)).float().unflatten(1, (6, -1))
        tx = ce.text_embedder(txt)
        for b in m.blocks:
            h = run_block(b, h, e, tx, bias, c, s)
        sm, sc = (m.scale_shift_table + temb[:, None]).chunk(2, 1)
        y = m.proj_out((ln(h) * (1 + sc) + sm).to(BF)).float()
    return y.view(B, T, H // 2, W // 2, 2, 2, C).permute(0, 6, 1, 2, 4, 3, 5).reshape(B, C, T, H, W)


def text_bias(n, L, total=512):
    """Row n is the zero row that stands for all total - n of them; the rows after it are off."""
    i, n = torch.arange(L)[None], n[:, None]
    b = torch.where(i < n, 0.0, torch.where(i == n, (total - n).float().log(), torch.tensor(-1e9)))
    return b[:, None, None, :]


# ---- optimizer

class Muon(torch.optim.Optimizer):
    """Muon at AdamW's scale, 0.2 sqrt(max(m, n)); matrices of one shape are made orthogonal as one batch."""

    def __init__(self, params, lr, momentum=0.95, decay=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, decay=decay))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            shapes = {}
            for p in g["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.mul_(g["momentum"]).add_(p.grad)
                u = p.grad.add(m, alpha=g["momentum"]).flatten(1)
                shapes.setdefault(u.shape, []).append((p, u))
            for sh, l in shapes.items():
                X = torch.stack([u for _, u in l]).bfloat16()
                if sh[0] > sh[1]:
                    X = X.mT.contiguous()
                X = X / (X.float().flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7).bfloat16()
                for _ in range(5):
                    A = X @ X.mT
                    X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
                if sh[0] > sh[1]:
                    X = X.mT
                for (p, _), u in zip(l, X):
                    p.mul_(1 - g["lr"] * g["decay"]).add_(u.float().view_as(p), alpha=-g["lr"] * 0.2 * math.sqrt(max(sh)))


def optimizers(matrices, others, lr, decay=0.01, momentum=0.95):
    return [torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.97), weight_decay=0.0, foreach=True),
            Muon(matrices, lr, momentum, decay)]


def set_lr(opts, lr):
    for o in opts:
        for g in o.param_groups:
            g["lr"] = lr


if __name__ == "__main__":
    torch.manual_seed(0)
    with torch.no_grad():
        v = make_vae()
        x = torch.rand(1, 3, 13, 32, 32)
        a, b = v._encode(x), encode(v, x)
        print("encode", (a - b).abs().max().item(), "of", a.abs().max().item())
        z = a[:, :16]
        a, b = v._decode(z).sample, decode(v, z).clamp(-1, 1)
        print("decode", (a - b).abs().max().item(), "of", a.abs().max().item())
        m = make_dit()
        nn.init.normal_(m.proj_out.weight, std=0.1)
        x, t, n = torch.randn(2, 16, 3, 8, 8), torch.tensor([900., 300.]), torch.tensor([9, 1])
        txt = torch.randn(2, 16, 64) * (torch.arange(16)[None] < n[:, None])[..., None]
        a = m(x, t, torch.cat([txt, torch.zeros(2, 496, 64)], 1)).sample
        b = dit(m, x, t, txt, text_bias(n, 16))
        print("transformer (in bf16)", (a - b).abs().max().item(), "of", a.abs().max().item())
