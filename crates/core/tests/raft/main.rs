//! Raft without a world around it: golden scripts, sentences of the paper, and random histories.

mod cluster;
mod paper;
mod print;
mod random;
mod scripts;
