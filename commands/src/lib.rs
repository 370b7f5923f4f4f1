//! Load, decide, append; the write API.
