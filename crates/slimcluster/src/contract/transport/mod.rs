//! What every [`Transport`](crate::Transport) must do.
