"""weft's clips as numpy arrays, by ctypes on libweft.so:

    import weft
    pipe = weft.Pipeline("MODEL")
    frames = pipe("a red fox in the snow", width=480, height=272, num_frames=17, seed=7)

frames is float32, [T,H,W,3], 0..1, as diffusers' output_type="np"; (frames * 255).round().astype("uint8")
are the samples that weft's files have. Options are the fields of struct weft_request in weft.h, under
diffusers' names; what is left out is the model's default. Frames as they are decoded:

    for frame in pipe.frames("a red fox in the snow"):

Latents of a file: pipe.decode("latents.safetensors"). Progress: pipe(..., callback=f) calls
f(stage, done, total). What goes wrong is a weft.Error, or a weft.Refused before anything is computed, with
the library's words. A `with` closes the model; so does the end of the pipe.

libweft.so is found as the loader finds it, or named by WEFT_LIBRARY in the environment.
"""
import ctypes as c
import os
import weakref

import numpy as np

OK, FAILED, REFUSED, CANCELLED = range(4)
STAGES = "encode", "denoise", "decode", "write"
CHOICES = {
    "offload": ("none", "model", "group", "sequential", "auto"),
    "tiling": ("auto", "none", "exact", "blend"),
    "fit": ("stretch", "crop", "pad"),
}
NAMES = {"num_inference_steps": "steps"}
PATHS = "image", "latents", "dump", "resume", "preview"


class Error(RuntimeError):
    """It failed while running: device, disk, memory."""


class Refused(Error, ValueError):
    """A value, a folder or a file that cannot be, said before anything is computed."""


# The structs of weft.h, field by field; it promises that none is ever moved.
class Settings(c.Structure):
    LOG = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_char_p)
    _fields_ = [
        ("device", c.c_char_p), ("dtype", c.c_char_p), ("threads", c.c_int), ("offload", c.c_int),
        ("log", LOG), ("log_context", c.c_void_p), ("offload_blocks", c.c_int), ("profile", c.c_int),
        ("memory_limit", c.c_uint64), ("device_map", c.c_char_p), ("reserved", c.c_uint64 * 5),
    ]  # fmt: skip


class Progress(c.Structure):
    _fields_ = [
        ("stage", c.c_int), ("done", c.c_int), ("total", c.c_int), ("seconds", c.c_double),
        ("remaining_seconds", c.c_double), ("fraction", c.c_double), ("unit_seconds", c.c_double),
        ("peak_bytes", c.c_uint64), ("reserved", c.c_uint64 * 1),
    ]  # fmt: skip


class Request(c.Structure):
    PROGRESS = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(Progress))
    _fields_ = [
        ("prompt", c.c_char_p), ("negative_prompt", c.c_char_p), ("width", c.c_int),
        ("height", c.c_int), ("num_frames", c.c_int), ("steps", c.c_int),
        ("guidance_scale", c.c_double), ("flow_shift", c.c_double), ("max_sequence_length", c.c_int),
        ("fps_num", c.c_int), ("fps_den", c.c_int), ("seed", c.c_uint64), ("random_seed", c.c_int),
        ("latents", c.c_char_p), ("decode_chunk_size", c.c_int), ("dump", c.c_char_p),
        ("progress", PROGRESS), ("progress_context", c.c_void_p), ("generator", c.c_char_p),
        ("chunk_overlap", c.c_int), ("tiling", c.c_int), ("tile_width", c.c_int),
        ("tile_height", c.c_int), ("tile_overlap_width", c.c_int), ("tile_overlap_height", c.c_int),
        ("image", c.c_char_p), ("fit", c.c_int), ("motion_bucket_id", c.c_int),
        ("min_guidance_scale", c.c_double), ("max_guidance_scale", c.c_double),
        ("noise_aug_strength", c.c_double), ("resume", c.c_char_p), ("preview", c.c_char_p),
        ("reserved", c.c_uint64 * 5),
    ]  # fmt: skip


class JobInfo(c.Structure):
    _fields_ = [
        ("width", c.c_int), ("height", c.c_int), ("frames", c.c_int64), ("fps_num", c.c_int),
        ("fps_den", c.c_int), ("steps", c.c_int), ("seed", c.c_uint64),
        ("decode_chunk_size", c.c_int), ("chunk_overlap", c.c_int), ("reserved", c.c_uint64 * 7),
    ]  # fmt: skip


class Frame(c.Structure):
    _fields_ = [
        ("rgb", c.POINTER(c.c_float)), ("width", c.c_int), ("height", c.c_int), ("index", c.c_int64),
        ("reserved", c.c_uint64 * 4),
    ]  # fmt: skip


def _load():
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait sleep, as in the program
    library = c.CDLL(os.environ.get("WEFT_LIBRARY", "libweft.so.0"))
    handle, text = c.c_void_p, c.c_char_p
    for name, result, *arguments in (
        ("weft_version", text),
        ("weft_settings_defaults", None, c.POINTER(Settings)),
        ("weft_engine_open", c.c_int, c.POINTER(Settings), c.POINTER(handle)),
        ("weft_engine_close", None, c.POINTER(handle)),
        ("weft_engine_error", text, handle),
        ("weft_model_open", c.c_int, handle, text, text, c.POINTER(handle)),
        ("weft_model_close", None, c.POINTER(handle)),
        ("weft_rate_from_double", c.c_int, c.c_double, c.POINTER(c.c_int), c.POINTER(c.c_int)),
        ("weft_request_defaults", None, handle, c.POINTER(Request)),
        ("weft_generate", c.c_int, handle, c.POINTER(Request), c.POINTER(handle)),
        ("weft_decode", c.c_int, handle, text, c.POINTER(Request), c.POINTER(handle)),
        ("weft_job_describe", None, handle, c.POINTER(JobInfo)),
        ("weft_job_next", c.c_int, handle, c.POINTER(Frame)),
        ("weft_job_cancel", None, handle),
        ("weft_job_close", None, c.POINTER(handle)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_weft = _load()
__version__ = _weft.weft_version().decode()


def _value(kind, name, value):
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise Refused(f"{name}: {value} is not possible; choose {'|'.join(CHOICES[name])}")
        return CHOICES[name].index(value)
    if kind is not c.c_char_p:
        return value
    if name in PATHS:
        return os.fsencode(value)
    if not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is no text")
    return value.encode()


def _fill(struct, options):
    """Sets fields by their names; None leaves one as it is."""
    kinds = dict(struct._fields_)
    for name, value in options.items():
        name = NAMES.get(name, name)
        if name not in kinds or name in ("log", "progress", "reserved"):
            raise TypeError(f"{name} is no option; see struct weft_{type(struct).__name__.lower()} in weft.h")
        if value is None:
            continue
        value = _value(kinds[name], name, value)
        setattr(struct, name, value)
        if getattr(struct, name) != value:  # ctypes drops the bits that do not fit
            raise Refused(f"{name}: {value} is not possible; it does not fit its field")


class Pipeline:
    """A model that is open, for one thread at a time. Options: device, dtype, threads, offload, memory_limit
    and the others of struct weft_settings."""

    def __init__(self, folder, variant=None, **options):
        settings, self._engine, self._model = Settings(), c.c_void_p(), c.c_void_p()
        self._clips = weakref.WeakSet()
        self.close = weakref.finalize(self, Pipeline._close, self._clips, self._model, self._engine)
        _weft.weft_settings_defaults(settings)
        _fill(settings, options)
        self._check(_weft.weft_engine_open(settings, self._engine))
        variant = variant.encode() if variant else None
        self._check(_weft.weft_model_open(self._engine, os.fsencode(folder), variant, self._model))

    @staticmethod
    def _close(clips, model, engine):
        for clip in list(clips):
            clip.close()
        _weft.weft_model_close(model)
        _weft.weft_engine_close(engine)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _check(self, status):
        if status != OK:
            text = _weft.weft_engine_error(self._engine) if self._engine else b"engine: out of memory"
            raise (Refused if status == REFUSED else Error)(os.fsdecode(text))

    def __call__(self, prompt=None, **options):
        """All frames of a clip: float32, [T,H,W,3]."""
        return _gather(self.frames(prompt, **options))

    def frames(self, prompt=None, **options):
        """The frames, each as soon as it is decoded; a request that is refused is so at once."""
        return Clip(self, _weft.weft_generate, prompt=prompt, **options)

    def decode(self, latents, **options):
        """All frames of a file of latents."""
        return _gather(Clip(self, _weft.weft_decode, os.fsencode(latents), **options))


class Clip:
    """Frames one after the other, [H,W,3]: an iterator, with the clip's width, height, num_frames, fps and
    seed. It can be left before its end."""

    def __init__(self, pipe, make, *source, callback=None, fps=None, seed=None, **options):
        if not pipe.close.alive:
            raise Error("the pipeline is closed")
        self._pipe, self._callback, self._raised, self._done = pipe, callback, None, False
        self._job, request = c.c_void_p(), Request()
        _weft.weft_request_defaults(pipe._model, request)
        if fps is not None:
            num, den = c.c_int(), c.c_int()
            if not _weft.weft_rate_from_double(fps, num, den):
                raise Refused(f"fps: {fps} is not possible; choose a rate such as 16 or 23.976")
            options |= {"fps_num": num.value, "fps_den": den.value}
        if seed is not None:
            options |= {"seed": seed, "random_seed": 0}
        _fill(request, options)
        tell = weakref.WeakMethod(self._tell)
        request.progress = Request.PROGRESS(lambda _, progress: tell()(progress.contents))
        # With the job go, not before it, what it reads from.
        self.close = weakref.finalize(self, Clip._close, self._job, pipe, source, request)
        pipe._clips.add(self)
        pipe._check(make(pipe._model, *source, request, self._job))
        info = JobInfo()
        _weft.weft_job_describe(self._job, info)
        self.width, self.height, self.num_frames = info.width, info.height, info.frames
        self.fps, self.seed = info.fps_num / info.fps_den, info.seed

    @staticmethod
    def _close(job, *_):
        _weft.weft_job_close(job)

    def _tell(self, progress):
        """An exception cannot pass through C: it ends the job, and goes on behind it."""
        try:
            if self._callback and not self._raised:
                self._callback(STAGES[progress.stage], progress.done, progress.total)
        except BaseException as raised:
            self._raised = raised
            _weft.weft_job_cancel(self._job)

    def __iter__(self):
        return self

    def __next__(self):
        if self._done:
            raise StopIteration
        if not self.close.alive:
            raise Error("the clip is closed")
        frame = Frame()
        status = _weft.weft_job_next(self._job, frame)
        if self._raised is None and status == OK and frame.rgb:
            return np.ctypeslib.as_array(frame.rgb, (frame.height, frame.width, 3)).copy()
        try:
            if self._raised is not None:
                raise self._raised
            self._pipe._check(status)
        finally:
            self._done, self._raised = True, None
            self.close()
        raise StopIteration


def _gather(clip):
    frames = np.empty((clip.num_frames, clip.height, clip.width, 3), np.float32)
    for index, frame in enumerate(clip):
        frames[index] = frame
    return frames
