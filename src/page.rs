//! Reads the logs out of a page, one flattened log at a time, without copying what the page holds.
//!
//! The shape of a flattened log is the one that the vendor's Python SDK gives (`loggroups_to_flattern_list`): `__time__`,
//! `__topic__`, `__source__`, `__time_ns_part__` if there is one, `__tag__:…`, contents; a later write to a key keeps
//! the key's first position and takes the last value.
