//! HTTP: leader delegation, the operations router and graceful serving.
