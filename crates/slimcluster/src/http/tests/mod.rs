//! Delegation between real HTTP servers, in front of a cluster of which the test says who leads it.

mod broken;
mod judged;
mod passed;
mod streamed;
mod world;
