//! What holds for every format: on real files, generated ones and any bytes.

mod meaning;
mod properties;
mod samples;
