"""An engine in a child process: the page's side, the child's side, and the frames between them."""
