"""The one thread that owns the device, and the jobs it works on."""
