/* weft: video generation from diffusers model folders, as a library.

   A clip, frame by frame as it is decoded:

       struct weft_engine *engine = NULL;
       struct weft_model *model = NULL;
       struct weft_job *job = NULL;
       struct weft_request request;
       struct weft_frame frame;

       if (weft_engine_open(NULL, &engine) == WEFT_OK &&
           weft_model_open(engine, "folder", NULL, &model) == WEFT_OK) {
           weft_request_defaults(model, &request);
           request.prompt = "a red circle moves right";
           if (weft_generate(model, &request, &job) == WEFT_OK)
               while (weft_job_next(job, &frame) == WEFT_OK && frame.rgb)
                   show(frame.rgb, frame.width, frame.height);
       }
       weft_job_close(&job);
       weft_model_close(&model);
       weft_engine_close(&engine);

   Every function that can fail returns a status, and weft_engine_error then holds one line that
   says where, what was wrong and what to do. An engine and all that was opened from it belong to
   one thread at a time; engines are independent of each other. Only weft_job_cancel may be called
   from elsewhere. Close functions free and set the pointer to NULL, take a pointer to NULL, and go
   job, writer, model, engine. The library itself prints nothing: what it has to say beside errors
   goes to the log function of the settings.

   Several jobs of one model may be open at the same time and be pulled in turns: each gives what it
   gives alone, and the weights are held once.

   A program goes on working with a newer library without being built anew: no struct changes its
   size or the place of a field, new fields take the room of `reserved`, and 0 there means what the
   library did before. So fill structs by their defaults function first: 0 is
   a value of some fields (crf, guidance_scale), not their default. */
#ifndef WEFT_H
#define WEFT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WEFT_API __attribute__((visibility("default")))
#else
#define WEFT_API
#endif

enum weft_status {
    WEFT_OK = 0,
    WEFT_FAILED = 1,    /* failed while running: device, disk, memory, damage met midway */
    WEFT_REFUSED = 2,   /* refused before any compute: bad value, bad folder, unwritable output */
    WEFT_CANCELLED = 3, /* weft_job_cancel was called */
};

struct weft_engine;
struct weft_model;
struct weft_job;
struct weft_writer;

#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0
/* To compare with: #if WEFT_VERSION_NUMBER >= WEFT_MAKE_VERSION(0, 2, 0) */
#define WEFT_MAKE_VERSION(major, minor, patch) ((major)*1000000 + (minor)*1000 + (patch))
#define WEFT_VERSION_NUMBER                                                                        \
    WEFT_MAKE_VERSION(WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR, WEFT_VERSION_PATCH)

WEFT_API const char *weft_version(void); /* of the library at run time: "0.1.0" */

/* --- engine: a device and its memory --- */

enum weft_offload {
    WEFT_OFFLOAD_NONE,       /* weights stay from their first use to the end of the model */
    WEFT_OFFLOAD_MODEL,      /* one component at a time: its weights go when its stage ends */
    WEFT_OFFLOAD_GROUP,      /* a few blocks of a component at a time, read again in every step */
    WEFT_OFFLOAD_SEQUENTIAL, /* one layer at a time: least memory */
    WEFT_OFFLOAD_AUTO,    /* of these, for a model's first job, the fastest by the plan that fits */
    WEFT_OFFLOAD_DEFAULT, /* NONE with a device map, AUTO with a memory limit, else MODEL */
};

enum weft_log_level {
    WEFT_LOG_WARNING, /* it goes on, but perhaps not as was meant */
    WEFT_LOG_INFO,    /* what was chosen, opened and done */
};

struct weft_settings {
    const char *device; /* "cpu", "cuda", "cuda:1"; NULL: cuda where there is one, else cpu */
    /* Of products: "f32" (diffusers' numbers) or "bf16" (half the memory); or by component,
       "transformer=bf16,vae=f32". NULL, or a component that is not named: bf16 where the device
       multiplies it faster, else f32. */
    const char *dtype;
    /* 0: OMP_NUM_THREADS, else the cores that affinity, the container's quota and OMP_THREAD_LIMIT
       leave. Where OpenMP grants fewer at the time of a call, that many compute. */
    int threads;
    enum weft_offload offload;
    /* Gets "WHERE: WHAT", one line without a line feed, valid during the call. Called in the thread
       that called weft, before that call returns; it must not call weft itself. NULL: none
       (default). Errors do not come here: they are the status and weft_engine_error. */
    void (*log)(void *context, enum weft_log_level level, const char *line);
    void *log_context;
    int offload_blocks; /* of WEFT_OFFLOAD_GROUP, blocks that are held together; 0: 1 */
    int profile; /* not 0: the report's seconds by kind are measured on a GPU too, for a little time
                  */
    /* Bytes that the engine may hold, of the device where that has memory of its own; 0, or more
       than is free: what is free. A job that does not fit beside what is held when it is made is
       refused; one that does not fit any more when it begins fails. */
    uint64_t memory_limit;
    /* Where components compute, "text_encoder=cpu,vae=cpu", the others on `device`; weights stay
       there, so offload is NONE with it. NULL: all on `device`. */
    const char *device_map;
    uint64_t reserved[5]; /* zeros */
};

WEFT_API void weft_settings_defaults(struct weft_settings *settings);
/* settings NULL: the defaults. When it fails *engine may still be set, for weft_engine_error; close
 * it. */
WEFT_API enum weft_status weft_engine_open(const struct weft_settings *settings,
                                           struct weft_engine **engine);
WEFT_API void weft_engine_close(struct weft_engine **engine);
/* The message of the last call that failed, one line without a line feed; "" before any. The
 * engine's. */
WEFT_API const char *weft_engine_error(const struct weft_engine *engine);

/* --- model: a checkpoint folder --- */

/* folder: a diffusers folder (model_index.json and its components); to decode alone, one of which
   only vae/ is there, or a VAE's own folder, whose class then says the family. variant: a word in
   the weight files' names such as "fp16", NULL for none. Reads and checks configurations; weights
   are found when a job is made, and only those that it needs. */
WEFT_API enum weft_status weft_model_open(struct weft_engine *engine, const char *folder,
                                          const char *variant, struct weft_model **model);
WEFT_API void weft_model_close(struct weft_model **model);

struct weft_component {
    const char *name;       /* folder below the model's */
    const char *class_name; /* of the library that wrote it */
    uint64_t parameters;    /* 0 for a component without weights */
    uint64_t bytes;         /* of weights, in files */
    int tensors;
    uint64_t reserved[4]; /* zeros */
};

/* What a model's clips are made from: fields of a request that it reads. */
enum weft_takes {
    WEFT_TAKES_PROMPT = 1,         /* and negative_prompt, max_sequence_length */
    WEFT_TAKES_IMAGE = 2,          /* and fit; an image must be given */
    WEFT_TAKES_GUIDANCE = 4,       /* guidance_scale */
    WEFT_TAKES_GUIDANCE_RANGE = 8, /* min_guidance_scale, max_guidance_scale */
    WEFT_TAKES_MOTION = 16,        /* motion_bucket_id, noise_aug_strength; fps is one, too */
    WEFT_TAKES_FLOW_SHIFT = 32,    /* flow_shift */
};

struct weft_model_info {
    const char *family;   /* "wan" */
    const char *pipeline; /* "WanPipeline"; where there is but a VAE, that one's class */
    const struct weft_component *components;
    int component_count;
    uint64_t parameters, bytes;
    int width, height, num_frames, steps, max_sequence_length; /* defaults of a request */
    double guidance_scale;
    int fps_num, fps_den;
    unsigned takes;                                /* enum weft_takes, added up */
    int motion_bucket_id;                          /* defaults, where the model takes them */
    double min_guidance_scale, max_guidance_scale; /* likewise */
    double noise_aug_strength;                     /* likewise */
    uint64_t reserved[4];                          /* zeros */
};

/* Opens the weight files of every component that is there and checks every tensor. *info belongs to
   the model. */
WEFT_API enum weft_status weft_model_describe(struct weft_model *model,
                                              const struct weft_model_info **info);

/* --- request --- */

enum weft_stage { WEFT_STAGE_ENCODE, WEFT_STAGE_DENOISE, WEFT_STAGE_DECODE, WEFT_STAGE_WRITE };

/* Whether the frames are decoded in tiles, which takes less memory. */
enum weft_tiling {
    WEFT_TILING_AUTO,  /* NONE where that fits, else EXACT */
    WEFT_TILING_NONE,  /* whole frames */
    WEFT_TILING_EXACT, /* tiles, with the pixels of whole frames */
    WEFT_TILING_BLEND, /* tiles that know nothing of each other, blended where they overlap, as in
                          diffusers */
};

struct weft_progress {
    enum weft_stage stage;
    int done, total; /* steps of denoising, frames of decoding; 0 of 1 or 1 of 1 for encoding */
    double seconds;  /* since the job began */
    /* Of the job, by its plan and the pace so far; of the stage, where a job is too short to be
       planned in seconds. Below 0: not known yet. */
    double remaining_seconds;
    double fraction;     /* of the whole job, 0..1, by its plan and the pace so far; never falls */
    double unit_seconds; /* a step or a frame of this stage, measured so far; 0: not known yet */
    /* Held at most since the job began: of a device's own memory where that is used, else of the
       host's; counted as in the report. */
    uint64_t peak_bytes;
    uint64_t reserved[1]; /* zeros */
};

/* What becomes of a picture of another aspect than the clip's. */
enum weft_fit {
    WEFT_FIT_STRETCH, /* as diffusers does */
    WEFT_FIT_CROP,    /* fills the clip; what stands over is cut off on both sides */
    WEFT_FIT_PAD,     /* whole, with black bars */
};

/* All pointers must stay valid until the job is closed. What a family does not take (see
   weft_model_info.takes) is refused where it is set: not NULL, not 0, and of what 0 is a value of,
   not below 0. */
struct weft_request {
    const char *prompt;          /* UTF-8; NULL: "" */
    const char *negative_prompt; /* UTF-8; NULL: ""; read only when guidance is on */
    int width, height;           /* pixels; 0: the model's default */
    int num_frames;              /* 0: the model's default */
    int steps;                   /* 0: the model's default */
    double guidance_scale;       /* above 1 switches guidance on; below 0: the model's default */
    double flow_shift;           /* of the noise schedule; 0: the scheduler's own */
    int max_sequence_length;     /* rows of text that the denoiser sees; 0: the model's default */
    int fps_num, fps_den;        /* frames a second, exact; 0: the model's default */
    uint64_t seed;               /* the noise is torch's for it: see generator */
    int random_seed;             /* not 0: seed is ignored, and one is drawn */
    const char *latents; /* safetensors file: the initial noise instead of the seed's; NULL: none */
    int decode_chunk_size; /* frames decoded at a time; 0: the family's */
    const char *dump;      /* folder for the tensors of each stage; NULL: none. Made when missing */
    void (*progress)(void *context, const struct weft_progress *progress); /* NULL: none */
    void *progress_context;
    /* Whose numbers the seed's noise is: "cpu", torch's CPU generator (NULL), or "cuda", that of
       the GPU that the denoiser is on. */
    const char *generator;
    int chunk_overlap; /* frames that neighbouring chunks share, blended; below 0: the family's */
    enum weft_tiling tiling;
    int tile_width, tile_height; /* of the output, pixels; 0: as large as fits, of BLEND 256 */
    /* Of BLEND: pixels that neighbouring tiles share; below 0: 64, at most half the tile. */
    int tile_overlap_width, tile_overlap_height;
    const char *image; /* PNG or JPEG: the first frame; NULL: none */
    enum weft_fit fit;
    int motion_bucket_id; /* the higher, the more moves; below 0: the model's default */
    /* Guidance of the first frame and of the last, in even steps between; below 0: the model's
       default. */
    double min_guidance_scale, max_guidance_scale;
    double noise_aug_strength; /* of noise that is added to the image; below 0: the default */
    /* Folder for what a job needs to go on after it was killed: the same request finds there what
       is done, and does at most one step again, or one chunk of frames where keeping those is
       cheaper than decoding them; else it decodes from the first. NULL: none. Made when missing,
       and left; one job at a time. */
    const char *resume;
    /* PNG that shows after each step what the clip would be, as the step has it: at most 16 of its
       frames on a sheet, a small square for each place of the latents, its colours fitted to the
       model's own VAE. Replaces what is there; changes nothing of the clip. NULL: none. */
    const char *preview;
    uint64_t reserved[5]; /* zeros */
};

/* A rate as the exact fraction that is meant: 29.97 is 30000/1001. 0 when it is not within
 * 0.001..1000. */
WEFT_API int weft_rate_from_double(double fps, int *num, int *den);
/* The model's and the family's defaults, a random seed, nothing else. */
WEFT_API void weft_request_defaults(const struct weft_model *model, struct weft_request *request);
/* The same without a model: each field says that it is left to it. */
WEFT_API void weft_request_open(struct weft_request *request);

/* --- job --- */

/* Checks the whole request and finds and checks all weights; computes nothing. A refusal is
 * WEFT_REFUSED. */
WEFT_API enum weft_status weft_generate(struct weft_model *model,
                                        const struct weft_request *request, struct weft_job **job);
/* The decoder alone: latents_file holds the tensor `latents`, F32, F16, BF16 or F64, as weft --dump
   or diffusers' output_type="latent" gives it. Of the request it reads fps, chunks, tiles and
   progress. */
WEFT_API enum weft_status weft_decode(struct weft_model *model, const char *latents_file,
                                      const struct weft_request *request, struct weft_job **job);
WEFT_API void weft_job_close(struct weft_job **job);

struct weft_job_info {
    int width, height; /* pixels */
    int64_t frames;
    int fps_num, fps_den;
    int steps;
    uint64_t seed;         /* given or drawn */
    int decode_chunk_size; /* frames decoded at a time; 0: the pixels do not depend on it */
    int chunk_overlap;     /* of these, shared with the chunk before */
    uint64_t reserved[7];  /* zeros */
};

WEFT_API void weft_job_describe(const struct weft_job *job, struct weft_job_info *info);

/* What a stage is going to take: found by running the job on a stand-in of the device that computes
   nothing. */
struct weft_stage_plan {
    double
        seconds;  /* by the rates of the device, which are measured when they are first asked for */
    double flops; /* multiplications and additions */
    uint64_t peak_host_bytes, peak_device_bytes; /* with the weights held at that moment */
    uint64_t transfer_bytes; /* of weights that are brought into the device's form */
    uint64_t reserved[8];    /* zeros */
};

/* Of a job that has not begun. A stage that it does not have is all zeros. */
WEFT_API enum weft_status weft_job_plan(struct weft_job *job, enum weft_stage stage,
                                        struct weft_stage_plan *plan);
/* Writes all stages as JSON, in the form of weft_job_report. path "-": standard output. */
WEFT_API enum weft_status weft_job_plan_report(struct weft_job *job, const char *path);

struct weft_frame {
    const float *rgb; /* [height,width,3], 0..1, rows without gaps; valid until the next call; NULL:
                         the end */
    int width, height;
    int64_t index;        /* from 0 */
    uint64_t reserved[4]; /* zeros */
};

/* The next frame. The first call does the encoding and all of the denoising. */
WEFT_API enum weft_status weft_job_next(struct weft_job *job, struct weft_frame *frame);
/* Makes weft_job_next return WEFT_CANCELLED soon. From any thread or signal handler. */
WEFT_API void weft_job_cancel(struct weft_job *job);

/* A JSON file of what each stage took: seconds, flops, peak bytes; of the stage "write" also what
   weft_writer_describe tells, under the names of its fields, null for what is not known. writer
   NULL: without that stage. */
WEFT_API enum weft_status weft_job_report(struct weft_job *job, const struct weft_writer *writer,
                                          const char *path);
/* Whether that can be written: WEFT_REFUSED, before the job has computed anything, when path cannot
   be made, or is a file that the job or the writer (NULL: none) reads or writes. */
WEFT_API enum weft_status weft_job_report_check(struct weft_job *job,
                                                const struct weft_writer *writer, const char *path);

/* --- writer: frames into a file or a pipe --- */

struct weft_output {
    const char *path;    /* "-": standard output; png: a pattern such as "frame-%05d.png" */
    const char *format;  /* NULL: from the path's extension */
    int overwrite;       /* 0: an existing file is refused */
    const char *codec;   /* ffmpeg's name of an encoder; NULL: the format's default */
    double crf;          /* below 0: the codec's default; a fraction where the codec takes one */
    const char *preset;  /* NULL: the codec's default */
    const char *pix_fmt; /* NULL: yuv420p */
    /* Paths of files that must not be written over, beside what the job itself reads and writes
       (the model's files, latents, the dump); the last is NULL. NULL: none. */
    const char *const *keep;
    int no_metadata;      /* not 0: the file does not say how it was made (see weft_recipe_open) */
    uint64_t reserved[6]; /* zeros */
};

WEFT_API void weft_output_defaults(struct weft_output *output);
WEFT_API const char *weft_output_formats(void); /* "mp4, mkv, ...": those that this build has */
/* The path of one of several clips, from 0, by a pattern such as "clip-%02d.mp4": in the file's own
   name the one %d (or %02d) becomes the number, and %% a percent sign. frames not 0: a number of
   the frame follows, as in "clip-%02d-%05d.png", and what is made is the pattern of one clip's.
   path, of room bytes, holds the name; WEFT_REFUSED when the pattern is none, or room too small. */
WEFT_API enum weft_status weft_clip_path(struct weft_engine *engine, const char *pattern,
                                         int frames, int64_t clip, char *path, uint64_t room);
/* Opens an output for the job's frames; refuses what cannot be written before the job computes
   anything, and what the job reads or writes itself. The file has a temporary name until
   weft_writer_finish. The job must stay open as long as frames are written and until that call. */
WEFT_API enum weft_status weft_writer_open(struct weft_job *job, const struct weft_output *output,
                                           struct weft_writer **writer);
/* Takes a copy of the frame, which has the job's size and rgb (else WEFT_FAILED); encoding and
   writing happen in a thread of the writer's own. */
WEFT_API enum weft_status weft_writer_write(struct weft_writer *writer,
                                            const struct weft_frame *frame);
/* Waits for all frames to be written and gives the file its name. After a failure, or when the job
   was cancelled, nothing is left; only a whole clip whose name was taken meanwhile is kept, as
   clip-2.mp4, which the error says. The writer stays open for weft_job_report. */
WEFT_API enum weft_status weft_writer_finish(struct weft_writer *writer);
struct weft_writer_info {
    const char *format;          /* "mp4" */
    const char *codec, *pix_fmt; /* ffmpeg's names; NULL: the format has none */
    int64_t frames;              /* written */
    int64_t bytes;               /* of all that was written; 0 for null */
    double bits_per_second;      /* bytes over the clip's duration */
    int64_t packets, key_frames; /* from the encoder; key_frames are among the packets */
    double quality;              /* mean quantizer (ffmpeg's q); below 0: the encoder tells none */
    double seconds;              /* of the writing thread: converting, encoding, writing */
    double encode_seconds;       /* of these, in the encoder */
    uint64_t queue_peak_bytes;   /* of frames that waited for it at the same time, at most */
    uint64_t queue_limit_bytes;  /* that may wait; then weft_writer_write does */
    uint64_t reserved[8];        /* zeros */
};

/* What became of the frames, once weft_writer_finish has succeeded; all zero before. The strings
   belong to the writer. */
WEFT_API void weft_writer_describe(const struct weft_writer *writer, struct weft_writer_info *info);
/* Closes; an output that was not finished is removed. */
WEFT_API void weft_writer_close(struct weft_writer **writer);

/* --- recipe: what a clip says of how it was made --- */

/* mp4, mov, mkv, webm and png that weft wrote hold the request, what was chosen where it left that
   open, and hashes of the model and of the files that it read: enough to make the same clip again
   with the same version on the same kind of processor. */
struct weft_recipe;

/* Needs no engine: what is wrong comes as one line into message, of room bytes ("" on success). A
   recipe belongs to one thread at a time. */
WEFT_API enum weft_status weft_recipe_open(const char *clip, struct weft_recipe **recipe,
                                           char *message, uint64_t room);
WEFT_API void weft_recipe_close(struct weft_recipe **recipe);
/* All of it, on one line. The recipe's, like the strings that the functions below fill in. */
WEFT_API const char *weft_recipe_json(const struct weft_recipe *recipe);
/* Fill in what is left open: of settings that weft_settings_defaults filled, of a request that
   weft_request_open did, of an output that weft_output_defaults did. Fields that say something
   stay. Files have to be named again. */
WEFT_API void weft_recipe_settings(const struct weft_recipe *recipe,
                                   struct weft_settings *settings);
WEFT_API void weft_recipe_request(const struct weft_recipe *recipe, struct weft_request *request);
WEFT_API void weft_recipe_output(const struct weft_recipe *recipe, struct weft_output *output);
/* Whether the job's model and files are those that the clip was made of. */
WEFT_API enum weft_status weft_recipe_check(const struct weft_recipe *recipe, struct weft_job *job);

/* --- compare: one clip against another --- */

/* Of one frame. */
struct weft_compared_frame {
    int64_t index;        /* from 0 */
    double psnr;          /* dB; infinite where nothing differs */
    double ssim;          /* at most 1; not a number where the picture is below 8 pixels a side */
    int max_abs;          /* largest difference of two samples, 0..255 */
    int64_t frames;       /* of the clip */
    uint64_t reserved[3]; /* zeros */
};

/* Paths: anything that FFmpeg reads (where the library has it), y4m, a pattern of png such as
   "frame-%05d.png", safetensors with the tensor `frames`. Samples are compared in the reference's
   pixel format, colour matrix and range, to which those of the clip are brought. */
struct weft_comparison {
    const char *reference, *clip;
    double min_psnr; /* dB, of the average; 0: none */
    double min_ssim; /* of the average; below -1: none */
    int max_abs;     /* 0..255; below 0: none */
    /* Where the clip's edges are, as it was decoded; 0: as the clip's own recipe says, if it has
       one. An overlap of 0: none. */
    int tile_width, tile_height, tile_overlap_width, tile_overlap_height;
    int decode_chunk_size, chunk_overlap;
    /* A file that says it all: .html (with pictures of the worst frames), .json or .xml (JUnit).
       NULL: none. Replaces what is there. */
    const char *report;
    /* Called with each frame once it is measured, in order; not 0 stops with WEFT_CANCELLED. NULL:
       none. */
    int (*frame)(void *context, const struct weft_compared_frame *frame);
    void *frame_context;
    uint64_t reserved[8]; /* zeros */
};

struct weft_comparison_result {
    /* FFmpeg's average, from the mean square error over the clip; infinite where nothing differs.
     */
    double psnr, min_psnr;
    double ssim, min_ssim; /* the mean; not a number where there is none */
    /* The first of the worst, from 0; min_psnr_frame is below 0 where nothing differs. */
    int64_t min_psnr_frame, min_ssim_frame;
    int max_abs;
    /* How much the clip changes across its edges beside what it changes next to them: about 1 where
       nothing shows, at most 1e6. Below 0: not known, or there are none. */
    double seam, chunk_edge;
    int64_t frames;
    int width, height, fps_num, fps_den; /* rate 0/0: neither file says it */
    int pass;                            /* not 0: within all thresholds */
    uint64_t reserved[8];                /* zeros */
};

WEFT_API void weft_comparison_defaults(struct weft_comparison *comparison);
/* WEFT_REFUSED when a file cannot be read, is no video, or the two have another size, count of
   frames or rate. A clip beyond a threshold is WEFT_OK with pass 0. */
WEFT_API enum weft_status weft_compare(struct weft_engine *engine,
                                       const struct weft_comparison *comparison,
                                       struct weft_comparison_result *result);

#ifdef __cplusplus
}
#endif

#endif
