//! One machine for each property, that does not have it.
