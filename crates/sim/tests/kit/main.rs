//! The kit as its users meet it: a machine that holds, machines that do not, and what is said of them.

mod bank;
mod flawed;
mod setup;
