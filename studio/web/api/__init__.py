"""The studio for programs: `/api/v1/...`, JSON with true status codes and one form of error (docs/api.md)."""
