//! SWIM as we do it: who is there, told by everybody to everybody.

mod dissemination;
mod goodbye;
mod invariants;
mod member;
mod message;
mod options;
mod probe;
mod suspicion;
#[expect(clippy::module_inception, reason = "the value has the protocol's name")]
mod swim;
mod sync;
mod table;

pub use member::{
    HTTP_BYTES_MAX, Incarnation, Key, Member, MemberState, Meta, NAME_BYTES_MAX, RESTARTING_MAX, Record, Update,
    is_plain, is_usable,
};
pub use message::{Body, Message, Seq};
pub use options::{Options, OptionsError};
pub use swim::{Event, Input, Local, Output, Sizer, Swim};
