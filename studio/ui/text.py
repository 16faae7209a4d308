"""Every word of the page, in one catalogue: a column per language, a key per text.

Knows nothing of components. Python asks with `say(key, ...)`; the page's scripts are handed the keys under a prefix
with `words(prefix)`. A second language is a second column with the same keys (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping

DEFAULT_LANGUAGE = "en"

_ENGLISH: Mapping[str, str] = {
    # ------------------------------------------------------------------------------------------------ the frame
    "page.title": "Latent Studio",
    "tab.text_to_image": "Text to image",
    "tab.image_to_image": "Image to image",
    "tab.noise_viewer": "Noise viewer",
    "header.theme": "Light or dark",
    "header.starting": "Starting…",
    "header.leave": "Log out",
    # ------------------------------------------------------------------------------------------------- controls
    "prompt.label": "Prompt",
    "prompt.placeholder": "What should the picture show?",
    "negative_prompt.label": "Negative prompt",
    "negative_prompt.placeholder": "What should it not show?",
    "checkpoint.label": "Model",
    "checkpoint.none": "No model was found. Put one into the models folder and start the studio again.",
    "aspect.label": "Size",
    "aspect.square": "1:1",
    "aspect.landscape": "4:3",
    "aspect.portrait": "3:4",
    "aspect.wide": "16:9",
    "aspect.tall": "9:16",
    "width.label": "Width",
    "height.label": "Height",
    "num_inference_steps.label": "Steps",
    "num_inference_steps.help": "How many small steps lead from noise to the picture. More is finer and slower.",
    "guidance_scale.label": "Guidance",
    "guidance_scale.help": "How strictly the picture follows the prompt.",
    "landmark.draft": "draft",
    "landmark.good": "good",
    "landmark.fine": "fine",
    "landmark.free": "free",
    "landmark.balanced": "balanced",
    "landmark.strict": "strict",
    "landmark.touch": "a touch",
    "landmark.half": "half",
    "landmark.anew": "anew",
    "seed.label": "Seed",
    "seed.placeholder": "random",
    "seed.help": "The number the noise is drawn from. The same seed and settings give the same picture.",
    "seed.random": "Random",
    "seed.last": "Reuse last",
    "more.label": "More",
    "scheduler.label": "Scheduler",
    "scheduler.help": "The rule that turns predicted noise into the next step.",
    "noise_schedule.label": "Noise schedule",
    "noise_schedule.help": "Where on the way from noise to picture the steps are spent.",
    "num_images_per_prompt.label": "Number of images",
    "num_images_per_prompt.help": "Image k has the seed plus k.",
    "preview.label": "Preview",
    "preview.help": "How each step is made visible: a fast estimate, or the full decoder.",
    "exact.label": "Exact: run alone, for a bit-equal picture whoever else is here",
    "strength.label": "Strength",
    "strength.help": "How much of the picture is made anew. 1 ignores it, 0 gives it back.",
    "strength.runs": "Runs {run} of {steps} steps.",
    "strength.runs_none": "Runs no step: the result is the picture as the VAE gives it back.",
    "image.label": "Picture to start from",
    "image.placeholder": "# Picture to start from\nDrop it here, or click to choose one",
    "generate": "Generate",
    "generate.loading": "Generate when the model is loaded",
    "stop": "Stop",
    # ------------------------------------------------------------------------------- variations, starting pictures
    "variation.label": "Variation",
    "variation_strength.label": "Variation strength",
    "variation_strength.help": "How far the noise goes from this seed towards the variation seed. The images of one"
    " run then share the seed, and image k has the variation seed plus k.",
    "variation_seed.label": "Variation seed",
    "variation_seed.help": "The number that the other noise is drawn from.",
    "landmark.same": "same",
    "landmark.close": "close",
    "landmark.far": "far",
    "resize_mode.label": "Resize",
    "resize_mode.help": "What happens when the picture has another shape than width and height say: crop it, pad it"
    " with its edge colours, stretch it, or fit it inside and keep all of it.",
    # -------------------------------------------------------------------------------------------------- prompts
    "prompts.tokens.one": "{count} token, {chunks} chunk",
    "prompts.tokens": "{count} tokens, {chunks} chunk",
    "prompts.chunks": "{count} tokens, {chunks} chunks",
    "prompts.words": "Words this model knows",
    "prompts.more": "all {count}",
    "prompts.fewer": "fewer",
    "prompts.examples": "Try one",
    # ---------------------------------------------------------------------------------------------------- stage
    "stage.label": "Stage",
    "stage.keys.generate": "Ctrl+Enter",
    "stage.keys.stop": "Esc",
    "stage.first": "Your picture appears here, step by step out of noise.",
    "stage.first.image": "Give a picture, say what it should become, and watch.",
    "stage.sample": "A sample. Move over the strip below to see how it was made.",
    "stage.sending": "Sending…",
    "stage.next": "Next in line.",
    "stage.ahead.one": "Waiting: 1 run is ahead of yours.",
    "stage.ahead": "Waiting: {count} runs are ahead of yours.",
    "stage.loading": "Loading the model",
    "stage.step": "Step {index} of {total}",
    "stage.pace": "{seconds} s per step",
    "stage.left": "{seconds} s left",
    "stage.decoding": "Decoding and saving",
    "stage.finished": "Done in {seconds} s",
    "stage.stopped": "Stopped",
    "stage.stopped_at": "Stopped at step {index} of {total}.",
    "stage.stopped_early": "Stopped before the first step.",
    "stage.stopping": "Stopping…",
    "stage.images_done": "{done} of {count} pictures done",
    "stage.failed": "That did not work",
    "stage.refused": "Not now",
    "stage.invalid": "Please look at the marked fields.",
    "stage.error_id": "Error {id}",
    "stage.lost": "The studio does not answer. Look whether it is still running, then try again.",
    "stage.gone": "The picture's file is gone.",
    "stage.film": "Steps of this picture, from noise to the end",
    "stage.scrub": "Step {index} of {total}, predicted picture",
    "stage.alt": "{prompt}",
    "stage.alt.empty": "A picture without a prompt",
    "stage.alt.step": "Predicted picture at step {index} of {total}",
    "stage.tiles": "Pictures of this run",
    "stage.tile": "Picture {index} of {count}",
    "stage.save": "Save",
    "stage.edit": "Image to image",
    "stage.noise": "Noise viewer",
    "stage.reuse": "Reuse settings",
    "stage.earlier": "Earlier",
    "stage.earlier.open": "Show: {prompt}",
    "stage.rung.fast": "fast preview",
    "stage.rung.tiny": "tiny preview",
    "stage.rung.full": "full VAE preview",
    # --------------------------------------------------------------------------------------------- picture line
    "line.seed": "seed {seed}",
    "line.steps": "{steps} × {scheduler} {noise_schedule}",
    "line.guidance": "guidance {guidance}",
    "line.strength": "strength {strength}",
    "line.variation": "{strength} towards seed {seed}",
    "line.size": "{width} × {height}",
    # ------------------------------------------------------------------------------------------------- messages
    "problem": "{value} is not allowed here. Allowed: {allowed}.",
    "problem.needed": "A picture is needed: {allowed}.",
    "failed.unexpected": "Something went wrong inside the studio. Its log has the details under {error_id}.",
    "api.error": "{message} ({error_id})",
    # ---------------------------------------------------------------------------------------------- noise viewer
    "viewer.intro": "One run, evaluation by evaluation: what the network was given, what it saw in it, and what it"
    " took for noise.",
    "viewer.run": "Run",
    "viewer.last": "Show the last run",
    "viewer.empty": "No run yet. Type a prompt and press Run, or make a picture first.",
    "viewer.waiting": "Waiting for the first evaluation…",
    "viewer.gone": "The record of this run is gone: only the newest runs are kept. Run it again to look inside.",
    "viewer.pane.x_t": "x_t: what the network was given",
    "viewer.pane.denoised": "predicted x0: the picture it saw",
    "viewer.pane.noise_pred": "predicted noise: what it took away",
    "viewer.how.fast": "fast decoder, as is",
    "viewer.how.channels": "4 channels, −3 … 3 as black … white",
    "viewer.decoder": "Shown through",
    "viewer.decoder.fast": "Fast decoder",
    "viewer.decoder.channels": "Channels",
    "viewer.timeline": "Evaluations of this run, from noise to picture",
    "viewer.evaluation": "Evaluation {index} of {total}",
    "viewer.first": "First evaluation",
    "viewer.previous": "Previous evaluation",
    "viewer.play": "Play",
    "viewer.pause": "Pause",
    "viewer.next": "Next evaluation",
    "viewer.last_evaluation": "Last evaluation",
    "viewer.number.timestep": "t",
    "viewer.number.sigma": "sigma",
    "viewer.number.snr": "SNR",
    "viewer.number.decibel": "{value} dB",
    "viewer.number.norm_x_t": "size of x_t",
    "viewer.number.norm_denoised": "size of predicted x0",
    "viewer.number.norm_noise_pred": "size of predicted noise",
    "viewer.schedule": "Schedule",
    "viewer.schedule.axis": "log-SNR",
    "viewer.schedule.evaluations": "evaluation",
    "viewer.schedule.noise": "noise",
    "viewer.schedule.picture": "picture",
    # ----------------------------------------------------------------------------------------------------- login
    "login.title": "Latent Studio",
    "login.user": "Name",
    "login.password": "Password",
    "login.enter": "Log in",
    "login.leave": "Log out",
    "login.wrong": "This name and password do not belong together.",
    "login.wait": "There were too many wrong passwords. Try again in {seconds} seconds.",
    "login.needed": "Log in first.",
    # ------------------------------------------------------------------------------------------------------- api
    "api.text_to_image": "A prompt becomes pictures. Streams {files: [], info: {state, index, total, ...}} while it"
    " runs and ends with the PNG files and an info record that holds everything needed to make them again. All but the"
    " prompt is optional; schedulers and noise schedules by the page's name or short form, in any case.",
    "api.image_to_image": "As /text_to_image, from a picture (PNG, JPEG or WebP) and a strength from 0 to 1:"
    " int(num_inference_steps * strength) steps are run.",
}

COLUMNS: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH}


def say(key: str, /, **values: object) -> str:
    """One text, with its places filled in. Raises KeyError for a key that is not in the catalogue."""
    return COLUMNS[DEFAULT_LANGUAGE][key].format(**values) if values else COLUMNS[DEFAULT_LANGUAGE][key]


def words(prefix: str) -> dict[str, str]:
    """The texts under `prefix.` for the page's scripts, keyed by what follows; places stay as {name}."""
    start = prefix + "."
    return {key[len(start) :]: text for key, text in COLUMNS[DEFAULT_LANGUAGE].items() if key.startswith(start)}
