"""A recording as files that need no studio: animation, contact sheet, tensors, numbers, and a page that replays it."""
