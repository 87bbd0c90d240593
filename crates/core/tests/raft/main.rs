//! Raft without a world around it: golden scripts, sentences of the paper, and random histories.

mod cluster;
mod print;
mod random;
